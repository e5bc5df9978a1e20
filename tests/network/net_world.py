"""A gateway's sender, an operator and a recipient in one loop of virtual time, with a tap on the socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bedside.attestation.exchange import Subject, decode_request
from bedside.attestation.statement import Measured
from bedside.core.events import Alarm, AlarmClass, AlarmState, Priority
from bedside.core.frames import socket_address
from bedside.core.time import InlineWorker, LoopClock, VirtualTimeLoop
from bedside.network.embedded import prepare
from bedside.network.links import UnixLink
from bedside.network.recipient import Mailbox, Recipient, pick_up
from bedside.network.sender import NetworkSender, open_sender
from bedside.operator.service import OperatorService
from bedside.settings import Home

T = TypeVar("T")
START_US = 1_800_000_000_000_000  # an epoch's and a slot's start
S = 1_000_000
MEASURED = Measured({"beats": b"\x11" * 32}, "tflite-runtime 2.14.0", b"\x22" * 32, "builtin", "0.1.0")
CANARY_KIND = "canarykindzebra"
CANARY_TEXT = "Canarytextgiraffe 190/min"
CANARY_PATIENT = "c0ffee00c0ffee00c0ffee00c0ffee00"


def in_virtual_time(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end in a loop whose hours pass as fast as the work in them."""
    loop = VirtualTimeLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def alarm(
    number: int,
    at_us: int,
    priority: Priority = Priority.HIGH,
    state: AlarmState = AlarmState.ACTIVE,
    raised_us: int = 0,
) -> Alarm:
    name = f"{number:032x}"
    return Alarm(
        id=f"{number:08x}{at_us:024x}",
        patient=CANARY_PATIENT,
        start_us=raised_us or at_us,
        alarm=name,
        kind=CANARY_KIND,
        alarm_class=AlarmClass.PHYSIOLOGICAL,
        priority=priority,
        state=state,
        condition=state is not AlarmState.ENDED,
        latching=False,
        raised_us=raised_us or at_us,
        changed_us=at_us,
        text=CANARY_TEXT,
    )


@dataclass(frozen=True)
class Seen:
    """One write that passed the socket: when, from whom, how long; and for a request what it was about."""

    at_us: int
    source: str
    size: int
    subject: str


@dataclass
class Tap:
    """Listens where the sender connects, and passes everything on to the operator."""

    path: Path
    operator_path: Path
    clock: LoopClock
    seen: list[Seen] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        with socket_address(self.path) as address:
            self._server = await asyncio.start_unix_server(self._connected, address)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with socket_address(self.operator_path) as address:
                there, back = await asyncio.open_unix_connection(address)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._carry(reader, back, "gateway"), self._carry(there, writer, "operator"))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                subject = str(decode_request(data[4:]).subject) if source == "gateway" else ""
                self.seen.append(Seen(self.clock.now_us(), source, len(data), subject))
                self.content += data
                writer.write(data)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@dataclass
class NetWorld:
    """What a test works with. `operator` can be closed and started again."""

    home: Home
    clock: LoopClock
    operator: OperatorService
    sender: NetworkSender
    tap: Tap
    epoch_s: float
    slot_s: float
    task: asyncio.Task[None]

    async def stop_operator(self) -> None:
        await self.operator.close()

    async def start_operator(self) -> None:
        self.operator = OperatorService(
            self.home.operator, clock=self.clock, worker=InlineWorker(), epoch_s=self.epoch_s
        )
        await self.operator.start()

    async def open_mail(self) -> Mailbox:
        link = UnixLink(self.operator.socket_path)
        try:
            return await pick_up(link, Recipient.load(self.home.recipient))
        finally:
            await link.close()

    def envelopes(self) -> list[Seen]:
        return [item for item in self.tap.seen if item.subject == Subject.ENVELOPE]


Make = Callable[..., NetworkSender]


@contextlib.asynccontextmanager
async def net_world(
    path: Path,
    *,
    epoch_s: float = 3600.0,
    slot_s: float = 10.0,
    patch: Callable[[NetworkSender], None] | None = None,
) -> AsyncIterator[NetWorld]:
    """A running gateway's network room and its operator. `patch` may break the sender before it runs."""
    home = Home(path / "home")
    home.make()
    prepare(home)
    worker = InlineWorker()
    clock = LoopClock(asyncio.get_running_loop(), START_US)
    operator = OperatorService(home.operator, clock=clock, worker=worker, epoch_s=epoch_s)
    await operator.start()
    await operator.offer_token(home.operator_token)
    tap = Tap(home.run / "tap.sock", operator.socket_path, clock)
    await tap.start()
    sender = open_sender(
        home, measured=MEASURED, clock=clock, worker=worker, link=UnixLink(tap.path), epoch_s=epoch_s, slot_s=slot_s
    )
    # Nothing here loses power, and virtual hours are many commits; the kill tests use the real setting.
    sender._outbox._db.execute("PRAGMA synchronous = OFF")
    operator.sink._db.execute("PRAGMA synchronous = OFF")
    if patch is not None:
        patch(sender)
    world = NetWorld(home, clock, operator, sender, tap, epoch_s, slot_s, asyncio.create_task(sender.run()))
    try:
        yield world
    finally:
        await world.sender.close()
        await world.task
        await tap.close()
        await asyncio.sleep(0.1)  # the tap's connections end
        await world.operator.close()
