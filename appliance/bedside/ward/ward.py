"""The ward: all patients' sessions, the box's own alarms, and the answers of the local socket.

Everything that a session says arrives here (`SessionSink`) and goes on to the recorder, the screens and
the network. Nothing here waits for a disk or a peer except the answers to requests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bedside.alarms.audio import PAUSE_S_MAX, AudioPause, signalling
from bedside.alarms.engine import AlarmEngine
from bedside.alarms.limits import PatientLimits, preset
from bedside.alarms.quiet import Quiet
from bedside.alarms.watch import PatientWatch
from bedside.core import wire
from bedside.core.api import PatientView, ScriptStep, Ward
from bedside.core.events import Alarm, Audit, Event, Json, Priority, to_dict
from bedside.core.ids import IdSource
from bedside.core.physiology import ScriptLine
from bedside.core.ports import Patient, SampleSource, Store
from bedside.core.samples import Block, LinkState
from bedside.core.time import US_PER_S, Clock, Worker, iso_utc
from bedside.monitor.patient import CleanWave
from bedside.ward.care import CareDesk
from bedside.ward.desk import named, whole
from bedside.ward.limits_desk import LimitsDesk
from bedside.ward.parts import Parts, keep_running
from bedside.ward.recorder import Recorder, RecorderHealth
from bedside.ward.review import ReviewDesk
from bedside.ward.session import PatientSession
from bedside.ward.socket import RequestError
from bedside.ward.strip import make_strip
from bedside.ward.usual_desk import UsualDesk
from bedside.ward.view import Limits, PatientBoard, alarm_view
from bedside.ward.waves import WaveRing

log = logging.getLogger(__name__)

STRIP_S_MAX = 60
EVENTS_MAX = 10_000
TICK_S = 0.5
CALL_STRIP_US = 30_000_000  # what a patient felt began before she pressed: the strip shows so much of before


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A patient and how to make the sources of her wearables, anew for each start of her session."""

    patient: Patient
    sources: Callable[[], Sequence[SampleSource]]
    wearable_names: Mapping[str, str]  # wearable id: the name that a screen shows
    script: tuple[ScriptLine, ...] = ()


class AlertSender(Protocol):
    """The network's ear: sealed copies of alarms leave through it. Returns at once."""

    def offer(self, alarm: Alarm) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WardFacts:
    """What does not change while the gateway runs, and is shown."""

    version: str
    demonstration: bool
    audio: str
    stored_in: str
    started_us: int


class WardMonitor:
    """Watches a ward until `run` is cancelled. One object, one event loop."""

    def __init__(
        self,
        facts: WardFacts,
        store: Store,
        worker: Worker,
        clock: Clock,
        ids: IdSource,
        new_watch: Callable[[Patient], PatientWatch],
        limits: Limits,
        alerts: AlertSender | None,
        observer: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.facts = facts
        self.parts = Parts(self._part_changed)
        self.recorder = Recorder(store, worker, self._recorder_changed)
        self.ring = WaveRing(clock, self.view)
        self._store = store
        self._worker = worker
        self._clock = clock
        self._ids = ids
        self._new_watch = new_watch
        self._limits = limits
        self._alerts = alerts
        self._observer = observer
        self._box = AlarmEngine(None, ids)
        self._sessions: dict[str, PatientSession] = {}
        self._scripts: dict[str, tuple[ScriptLine, ...]] = {}
        self._pause: AudioPause | None = None
        self.limits_desk, self.care, self.review_desk = LimitsDesk(self, limits), CareDesk(self), ReviewDesk(self)
        self._speaker: tuple[str, str] = ("ok", "running")  # as the annunciator tells of its loudspeaker

    # ------------------------------------------------------------------ patients

    def admit(
        self,
        admission: Admission,
        was_open: Sequence[Alarm] = (),
        limits: PatientLimits | None = None,
        quiet: Quiet | None = None,
    ) -> None:
        """Begin to watch a patient (before `run`); `was_open`, `limits` and `quiet` are hers of before a restart."""
        patient = admission.patient
        board = PatientBoard(patient, admission.wearable_names, self._limits)
        session = PatientSession(board, admission.sources, lambda: self._new_watch(patient), self, self._clock)
        if limits is not None and limits != preset():
            self.limits_desk.set(session, limits)
        if quiet is not None:
            self.care.set(session, quiet)
        self._sessions[patient.id] = session
        self._scripts[patient.id] = admission.script
        if was_open:
            session.restore(was_open)

    def attach(self, patient: str, wearable: str, name: str, source: Callable[[], SampleSource]) -> None:
        """A wearable was paired with `patient`: her session follows it from now on. Raises `RequestError`."""
        self.session(patient).attach(wearable, name, source)
        self.ring.ward_changed()

    async def detach(self, patient: str, wearable: str) -> None:
        """A wearable is not hers any more; its link has ended on return."""
        session = self._sessions.get(patient)
        if session is not None:
            await session.detach(wearable)
            self.ring.ward_changed()

    def bed(self, patient: str) -> str:
        """What a screen calls a patient's place; empty where she is not known."""
        session = self._sessions.get(patient)
        return "" if session is None else session.board.patient.bed or session.board.patient.name

    def restore_box(self, was_open: Sequence[Alarm]) -> None:
        """Take over the box's own alarms of before a restart."""
        self.events(self._box.restore(was_open, self._clock.now_us()))

    async def run(self) -> None:
        """Watch all patients until cancelled, then write what is still in memory."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for session in self._sessions.values():
                    tasks.create_task(session.run(), name="session")
                for name, run in (("records", self.recorder.run), ("gateway", self.ring.run), ("alarms", self._tick)):
                    tasks.create_task(keep_running(name, run, self.parts, self._clock), name=name)
        finally:
            await self.recorder.flush()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.events(self._box.advance(self._clock.now_us()))
            self.sounding()
            self.limits_desk.say_again()
            self.care.tick()

    def oldest_tick_s(self) -> float:
        """Monotonic time at which the session that is furthest behind last ticked: the heartbeat's proof."""
        alive = [s.ticked_s for s in self._sessions.values() if not s.board.failed]
        return min(alive, default=self._clock.monotonic_s())

    def patients(self) -> list[str]:
        """The ids of all patients, in the order of admission."""
        return list(self._sessions)

    def links(self) -> tuple[str, str]:
        """State and detail of the wearables' links, for the list of parts."""
        links = [link for session in self._sessions.values() for link in session.board.links()]
        up = sum(link is LinkState.UP for link in links)
        resting = links.count(LinkState.RESTING)  # cuffs and the like, between two measurements
        told = f"{up} of {len(links) - resting} wearables connected" + (f", {resting} resting" if resting else "")
        return ("ok" if up + resting == len(links) else "degraded"), told

    # ------------------------------------------------------------------ SessionSink

    def block(self, block: Block) -> None:
        self.recorder.keep(block)

    def events(self, events: Sequence[Event]) -> None:
        for event in events:
            self.recorder.keep(event)
            self._observer(event)
            if isinstance(event, Alarm):
                self.ring.ward_changed()
                if self._alerts is not None:
                    self._alerts.offer(event)

    def waves(self, waves: Sequence[CleanWave]) -> None:
        for wave in waves:
            self.ring.add(wave)

    def session_failed(self, patient: str, failed: bool) -> None:
        self.condition("patient_session_failed", failed, key=patient)
        self.ring.ward_changed()

    # ------------------------------------------------------------------ the box's own conditions

    def condition(self, kind: str, on: bool, *, key: str = "", **fields: Json) -> None:
        """A technical condition of the box began or ended; `key` tells several of one kind apart."""
        self.events(self._box.set_condition(kind, on, self._clock.now_us(), key=key, evidence=dict(fields)))

    def audit(self, actor: str, action: str, *, patient: str | None = None, **detail: Json) -> None:
        """Note in the records (of the box, or of a patient) who did what."""
        now_us = self._clock.now_us()
        self.recorder.keep(
            Audit(id=self._ids.event(), patient=patient, start_us=now_us, end_us=now_us, actor=actor, action=action,
                  detail=dict(detail))
        )  # fmt: skip

    def interrupted(self, since_us: int | None) -> None:
        """Say that nobody was watched between `since_us` and now, because the box or the gateway was down."""
        since = iso_utc(since_us) if since_us is not None else "an unknown time"
        self.condition("monitoring_interrupted", True, since=since, until=iso_utc(self._clock.now_us()))

    def _part_changed(self, name: str, failed: bool, detail: str) -> None:
        self.condition("part_failed", failed, key=name, part=name, detail=detail)

    def _recorder_changed(self, health: RecorderHealth) -> None:
        failing = health.error is not None
        self.parts.set("records", "degraded" if failing else "ok", health.error or "running")
        self.condition("records", failing, detail=health.error or "", dropped=health.dropped)

    # ------------------------------------------------------------------ what is heard

    def sounding(self) -> str:
        """The priority that must be heard now, of the whole ward, or "none": the annunciator sounds it."""
        loudest = signalling(self._all_alarms())
        if self._pause is not None:
            why = self._pause.over(loudest, self._clock.monotonic_s())
            if why is None:
                return "none"
            self._end_pause("gateway", why)
        return str(loudest) if loudest is not None else "none"

    def restore_pause(self, audits: Sequence[Event]) -> None:
        """Take over an audio pause of before a restart (`audits`: the box's newest, oldest first)."""
        said = [one for one in audits if isinstance(one, Audit) and one.action in ("audio_pause", "audio_resume")]
        if not said or said[-1].action != "audio_pause":
            return
        last, now_us = said[-1], self._clock.now_us()
        until_us, level = last.detail.get("until_us"), last.detail.get("level")
        if not isinstance(until_us, int) or level not in list(Priority) or last.start_us > now_us:
            return  # a clock that went back: silence is not prolonged by it
        left_s = min((until_us - now_us) / US_PER_S, PAUSE_S_MAX)
        if left_s >= 1.0:
            self._pause = AudioPause.begin(last.actor, Priority(str(level)), left_s, self._clock.monotonic_s())

    def speaker(self, state: str, detail: str) -> None:
        """The annunciator tells how its loudspeaker does ("ok" or "degraded")."""
        if (state, detail) != self._speaker:
            self._speaker = (state, detail)
            self.parts.set("annunciator", state, detail)
        self.condition("loudspeaker", state == "degraded", detail=detail)

    def _audio(self) -> str:
        """What the screens say of the box's sound."""
        state, detail = self._speaker
        return self.facts.audio if self.facts.audio != "on" or state == "ok" else detail

    def _end_pause(self, actor: str, why: str) -> None:
        self._pause = None
        self.audit(actor, "audio_resume", why=why)
        self.ring.ward_changed()

    def _all_alarms(self) -> list[Alarm]:
        return self._box.open() + [alarm for session in self._sessions.values() for alarm in session.alarms()]

    # ------------------------------------------------------------------ what is shown

    def view(self) -> Ward:
        """The ward as the screens show it now."""
        now_us = self._clock.now_us()
        stored = self.recorder.health.stored_us
        ward = Ward(
            v=wire.VERSION, time_us=now_us, started_us=self.facts.started_us, version=self.facts.version,
            demonstration=self.facts.demonstration, audio=self._audio(), parts=self.parts.views(),
            patients=[self._patient_view(session, now_us, stored) for session in self._sessions.values()],
            alarms=[alarm_view(alarm) for alarm in self._box.open()],
            script=self._script(now_us), stored_in=self.facts.stored_in,
        )  # fmt: skip
        if self._pause is not None:
            left_s = self._pause.remaining_s(self._clock.monotonic_s())
            ward["audio_paused_until_us"] = now_us + round(left_s * US_PER_S)
            ward["audio_paused_by"] = self._pause.by
        return ward

    def _patient_view(self, session: PatientSession, now_us: int, stored: Mapping[str, int]) -> PatientView:
        view = session.board.view(session.alarms(), now_us, stored.get(session.patient))
        self.limits_desk.mark(view)
        self.care.mark(view)
        return view

    def _script(self, now_us: int) -> list[ScriptStep]:
        at_s = (now_us - self.facts.started_us) / US_PER_S
        steps = [
            ScriptStep(at_s=line.at_s, patient=patient, text=line.text, done=at_s >= line.at_s)
            for patient, lines in self._scripts.items()
            for line in lines
        ]
        return sorted(steps, key=lambda step: step["at_s"])

    # ------------------------------------------------------------------ answers

    def operations(self) -> dict[str, Any]:
        """The socket's operations by name; `core.api` says what each takes and gives."""
        return {
            "ward": self._answer_ward,
            "events": self._answer_events,
            "strip": self._answer_strip,
            "acknowledge": self._answer_acknowledge,
            "audio_pause": self._answer_audio_pause,
            "audio_resume": self._answer_audio_resume,
            "audit": self._answer_audit,
            "part": self._answer_part,
            **self.limits_desk.operations(),
            **self.care.operations(),
            **UsualDesk(self).operations(),
            **self.review_desk.operations(),
            "patient_call": self._answer_patient_call,
        }

    async def _answer_ward(self, _request: dict[str, Any]) -> Ward:
        return self.view()

    async def _answer_events(self, request: dict[str, Any]) -> list[dict[str, Json]]:
        patient = request.get("patient")
        if patient is not None:
            self.session(patient)
        start_us, end_us = whole(request, "start_us"), whole(request, "end_us")
        limit = min(whole(request, "limit", 1000), EVENTS_MAX)
        types = tuple(str(name) for name in request.get("types") or ())
        found = await self._worker.run(lambda: self._store.events(patient, start_us, end_us, types, limit))
        return [to_dict(event) for event in found]

    async def _answer_strip(self, request: dict[str, Any]) -> Any:
        session, stream = self.session(request.get("patient")), str(request.get("stream"))
        start_us, end_us = whole(request, "start_us"), whole(request, "end_us")
        if not 0 < end_us - start_us <= STRIP_S_MAX * US_PER_S:
            raise RequestError("bad_request", f"strip: expected 0 < end - start <= {STRIP_S_MAX} s")
        strip = await self._worker.run(lambda: make_strip(self._store, session.patient, stream, start_us, end_us))
        if strip is None:
            raise RequestError("unknown_stream", "strip: this patient has no such stream")
        return strip

    async def _answer_acknowledge(self, request: dict[str, Any]) -> dict[str, str]:
        alarm, by = str(request.get("alarm")), named(request)
        now_us = self._clock.now_us()
        if any(one.alarm == alarm for one in self._box.open()):
            self.events(self._box.acknowledge(alarm, by, now_us))
        else:
            self._alarm_owner(alarm).acknowledge(alarm, by)
        self.audit(by, "acknowledge", alarm=alarm)
        if not await self.recorder.flush():  # what is called acknowledged is on disk, or the answer says so
            raise RequestError("not_possible", "acknowledged on screen, but the records cannot be written now")
        state = next((str(one.state) for one in self._all_alarms() if one.alarm == alarm), "ended")
        return {"alarm": alarm, "state": state}

    async def _answer_audio_pause(self, request: dict[str, Any]) -> dict[str, int]:
        by, seconds = named(request), whole(request, "seconds", round(PAUSE_S_MAX))
        loudest = signalling(self._all_alarms())
        if loudest is None:
            raise RequestError("not_possible", "audio_pause: no alarm sounds; a pause is no alarm turned off before")
        try:
            self._pause = AudioPause.begin(by, loudest, seconds, self._clock.monotonic_s())
        except ValueError as error:
            raise RequestError("bad_request", str(error)) from error
        until_us = self._clock.now_us() + seconds * US_PER_S
        self.audit(by, "audio_pause", seconds=seconds, until_us=until_us, level=str(loudest))
        self.ring.ward_changed()
        await self.recorder.flush()
        return {"audio_paused_until_us": until_us}

    async def _answer_audio_resume(self, request: dict[str, Any]) -> dict[str, Json]:
        by = named(request)
        if self._pause is not None:
            self._end_pause(by, "asked for")
        return {}

    async def _answer_audit(self, request: dict[str, Any]) -> dict[str, str]:
        detail = request.get("detail")
        self.audit(
            str(request.get("actor"))[:100],
            str(request.get("action"))[:100],
            **(detail if isinstance(detail, dict) else {}),
        )
        return {}

    async def _answer_patient_call(self, request: dict[str, Any]) -> dict[str, int]:
        """The patient pressed "I feel unwell": an alarm that stays until somebody of the team has seen it."""
        session, now_us = self.session(request.get("patient")), self._clock.now_us()
        said = str(request.get("said") or "I feel unwell")[:40]
        session.condition("patient_call", said=said, pressed_us=now_us, strip_start_us=now_us - CALL_STRIP_US)
        self.audit("patient", "patient_call", patient=session.patient, said=said)
        await self.recorder.flush()
        return {"pressed_us": now_us}

    async def _answer_part(self, request: dict[str, Any]) -> dict[str, str]:
        """The supervisor tells how the other processes do."""
        state = str(request.get("state"))
        if state not in ("ok", "starting", "degraded", "failed"):
            raise RequestError("bad_request", f"part: state {state!r} is not known")
        part, detail = str(request.get("part"))[:40], str(request.get("detail"))[:200]
        if part == "annunciator" and state == "ok":
            state, detail = self._speaker  # its process runs; whether it can be heard it says itself
        self.parts.set(part, state, detail)
        return {}

    # ------------------------------------------------------------------ what the desks ask (`desk.DeskWard`)

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def store(self) -> Store:
        return self._store

    @property
    def worker(self) -> Worker:
        return self._worker

    def sessions(self) -> Sequence[PatientSession]:
        return list(self._sessions.values())

    def say(self, event: Event) -> None:
        """An event of somebody's hand goes to the records, and to her alarms."""
        self.session(event.patient).hear(event)

    def event_id(self) -> str:
        return self._ids.event()

    def changed(self) -> None:
        self.ring.ward_changed()

    async def saved(self) -> bool:
        return await self.recorder.flush()

    def session(self, patient: object) -> PatientSession:
        """Raises `RequestError` for a patient who is not on this box."""
        session = self._sessions.get(str(patient))
        if session is None:
            raise RequestError("unknown_patient", "there is no such patient on this box")
        return session

    def _alarm_owner(self, alarm: str) -> PatientSession:
        for session in self._sessions.values():
            if any(one.alarm == alarm for one in session.alarms()):
                return session
        raise RequestError("unknown_alarm", "this alarm is not open: it ended, or was acknowledged elsewhere")
