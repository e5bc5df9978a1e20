"""One patient's session: her wearables' items through her watch, to the recorder, the board and the screens.

Supervised on its own. A fault (a bug, never an expected error) ends this session loudly and starts it
anew with back-off; the open alarms go into the new watch, so a restart never mutes a condition that
was on. Neighbours notice nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from bedside.alarms.limits import PatientLimits
from bedside.alarms.quiet import Quiet
from bedside.alarms.watch import PatientWatch, WatchOutput
from bedside.core.events import Alarm, Event, Json
from bedside.core.ports import SampleSource
from bedside.core.samples import Block, Item
from bedside.core.time import Clock
from bedside.monitor.patient import CleanWave
from bedside.ward.view import Limits, PatientBoard

log = logging.getLogger(__name__)

TICK_S = 0.5
BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
HEALTHY_S = 60.0  # a session that ran this long starts again at the shortest back-off


class SessionSink(Protocol):
    """Where a session's results go. Calls return at once."""

    def block(self, block: Block) -> None: ...

    def events(self, events: Sequence[Event]) -> None: ...

    def waves(self, waves: Sequence[CleanWave]) -> None: ...

    def session_failed(self, patient: str, failed: bool) -> None:
        """The session of `patient` fell over (True) or runs again (False)."""
        ...


class PatientSession:
    """Keeps one patient monitored until `run` is cancelled."""

    def __init__(
        self,
        board: PatientBoard,
        sources: Callable[[], Sequence[SampleSource]],
        watch: Callable[[], PatientWatch],
        sink: SessionSink,
        clock: Clock,
    ) -> None:
        self.board = board
        self.ticked_s = clock.monotonic_s()
        self._sources = sources
        self._new_watch = watch
        self._watch = watch()
        self._sink = sink
        self._clock = clock
        self._patient_limits: PatientLimits | None = None
        self._quiet = Quiet()
        self._paired: dict[str, Callable[[], SampleSource]] = {}  # wearables that were paired while she is watched
        self._followed: dict[str, tuple[SampleSource, asyncio.Task[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def patient(self) -> str:
        return self.board.patient.id

    def alarms(self) -> list[Alarm]:
        """Open alarms, most urgent first."""
        return self._watch.open()

    def usual(self) -> dict[str, Json]:
        """What is held usual of her, quantity by quantity: plain values."""
        return self._watch.usual()

    def forget_usual(self, quantity: str | None) -> None:
        """Learn anew what is usual of her (of one quantity, or all). Raises `KeyError` for an unknown one."""
        self._sink.events(self._watch.forget_usual(quantity, self._clock.now_us()))

    def restore(self, alarms: Sequence[Alarm]) -> None:
        """Take over alarms that were open when monitoring last ended."""
        self._sink.events(self._watch.restore(alarms, self._clock.now_us()))

    def acknowledge(self, alarm: str, by: str) -> None:
        """Acknowledge one alarm in the name of `by`. Raises `KeyError` when it is not open."""
        self._sink.events(self._watch.acknowledge(alarm, by, self._clock.now_us()))

    def set_limits(self, limits: PatientLimits, shown: Limits) -> None:
        """This patient's limits from now on, also of a watch that is made anew; `shown` stands on the tile."""
        self._patient_limits = limits
        self._watch.set_limits(limits)
        self.board.set_limits(shown)

    def set_quiet(self, quiet: Quiet) -> None:
        """What somebody has switched off from now on, also of a watch that is made anew."""
        self._quiet = quiet
        self._sink.events(self._watch.set_quiet(quiet, self._clock.now_us()))

    def condition(self, kind: str, **fields: Json) -> None:
        """A momentary condition of this patient that the ward itself saw."""
        self._sink.events(self._watch.set_condition(kind, self._clock.now_us(), fields))

    def hear(self, event: Event) -> None:
        """What somebody entered of her goes the way of what is measured."""
        self._give(self._watch.hear(event, self._clock.now_us()))

    def early_warning(self) -> dict[str, Json]:
        """The early warning score now, with its inputs."""
        return self._watch.early_warning()

    def attach(self, wearable: str, name: str, source: Callable[[], SampleSource]) -> None:
        """Follow one more wearable from now on, and after each new start of this session."""
        self._paired[wearable] = source
        self.board.add_wearable(wearable, name)
        if self._tasks is not None:
            self._follow_paired(self._tasks, wearable)

    async def detach(self, wearable: str) -> None:
        """Let go of a wearable that was attached; its link has ended on return. No error when it is not here."""
        self._paired.pop(wearable, None)
        source, task = self._followed.pop(wearable, (None, None))
        if source is not None and task is not None:
            await source.close()
            await asyncio.wait((task,))
        self.board.remove_wearable(wearable)

    async def run(self) -> None:
        """Monitor until cancelled."""
        failures = 0
        while True:
            began_s = self._clock.monotonic_s()
            try:
                await self._once()
            except* Exception:
                log.exception("patient session failed", extra={"patient": self.patient})
            if self._clock.monotonic_s() - began_s > HEALTHY_S:
                failures = 0
            self._failed(True)
            await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            failures += 1
            self._replace_watch()
            self._failed(False)

    async def _once(self) -> None:
        sources = self._sources()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for source in sources:
                    tasks.create_task(self._follow(source), name="follow")
                for wearable in self._paired:
                    self._follow_paired(tasks, wearable)
                tasks.create_task(self._tick(), name="tick")
        finally:
            self._tasks = None
            followed, self._followed = self._followed, {}
            for source in (*sources, *(one for one, _ in followed.values())):
                await source.close()

    def _follow_paired(self, tasks: asyncio.TaskGroup, wearable: str) -> None:
        source = self._paired[wearable]()
        self._followed[wearable] = (source, tasks.create_task(self._follow(source, wearable), name="follow"))

    async def _follow(self, source: SampleSource, wearable: str | None = None) -> None:
        async for item in source.items():
            self._take(item)
        if wearable is not None and wearable not in self._followed:
            return  # it was detached
        raise RuntimeError("a wearable's session ended though nobody closed it")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.ticked_s = self._clock.monotonic_s()
            self._give(self._watch.advance(self._clock.now_us()))

    def _take(self, item: Item) -> None:
        if isinstance(item, Block):
            self._sink.block(item)
            self.board.samples(item)
        self._give(self._watch.feed(item))

    def _give(self, output: WatchOutput) -> None:
        if output.events:
            for event in output.events:
                self.board.event(event)
            self._sink.events(output.events)
        if output.waves:
            self._sink.waves(output.waves)

    def _failed(self, failed: bool) -> None:
        self.board.failed = failed
        self._sink.session_failed(self.patient, failed)

    def _replace_watch(self) -> None:
        was_open = self._watch.open()
        self._watch = self._new_watch()
        if self._patient_limits is not None:
            self._watch.set_limits(self._patient_limits)
        self._watch.set_quiet(self._quiet, self._clock.now_us())
        self.restore(was_open)
