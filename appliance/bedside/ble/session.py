"""One wearable's session: find, connect, subscribe, start its streams, and begin again for as long as it takes.

States and who moves them (told outside as `LinkChange`):

    searching --heard--> connecting --streams run--> up --late data, link lost, fault--> lost --> searching …
        |                    '---- refused, timed out ----> back-off ----^
        '-- not heard for NOT_FOUND_S: lost, told once; the search goes on

A cuff, thermometer, scale or meter (`WearableConfig.spot`, or found to be one) calls only when it has measured. It
rests in between, which is no loss; its clock is read, and set where it is wrong.

- Alive means data: the signal that the wearable is there for (its ECG, else the fastest it has) must arrive in its
  cadence. When it is late the link is ended and made anew, whatever the radio says of it.
- The other signals that stop are asked for again without touching the link, and their numbers are withdrawn.
- Every call has a time-out. Failures back off to a cap, with jitter from the randomness that was passed in.
- Only bugs end `items` with an exception: that patient's supervisor restarts the session loudly.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakBluetoothNotAvailableError, BleakError

from bedside.ble import battery, date_time, heart_rate, plx, spot
from bedside.ble.drivers.api import Driver
from bedside.ble.drivers.registry import driver_for
from bedside.ble.fetching import DRAIN_S, Fetching, Known, memories_of
from bedside.ble.intake import Intake
from bedside.ble.linked import LinkedDevice, within
from bedside.ble.outbox import Outbox
from bedside.ble.presence import UNKNOWN
from bedside.ble.radio import OnAdvertisement, Radio
from bedside.core.codes import Code, StreamKind
from bedside.core.errors import DecodeError, WearableError
from bedside.core.samples import Item, LinkChange, LinkState, Plain, Reading, Remark, StreamInfo, Validity
from bedside.core.time import Clock

logger = logging.getLogger(__name__)

NOT_FOUND_S = 20.0  # searching for longer is told as a lost link
SCAN_S = 60.0  # a scan is begun anew after this long: adapters are known to go deaf
CALL_S = 5.0
STOP_S = 1.0
PROVE_S = 20.0  # that a paired wearable holds its bond and is the one it was
CLOSE_S = 5.0
STALL_S = 1.0  # a timer that is so late says that the box itself stood still
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
BATTERY_READ_S = 1800.0  # many a strap tells its battery only when it is asked
STABLE_S = 30.0  # up for so long: the next failure backs off from the start
VISIT_S = 900.0  # a spot wearable that is silent for so long though its link is up is let go
CLOCK_WRONG_S = 30.0  # a clock further off than this is set
FLOODED_MAX = 2_000  # refused notifications of one link: such a wearable is disconnected

LATE_S = {heart_rate.MEASUREMENT: 5.0, plx.CONTINUOUS: 5.0}
"""After how long without data a signal is late, in order of importance: the first that a wearable has is its own.

Before these comes the ECG, as its driver says."""

_WITHDRAWN = {
    heart_rate.MEASUREMENT: (Code.HEART_RATE_DEVICE,),
    plx.CONTINUOUS: (Code.SPO2, Code.PULSE_RATE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WearableConfig:
    """Which wearable, whose, and how its ECG stream is called. Matched by `address`, else by advertised name."""

    id: str
    patient: str
    name: str  # for people: screen and messages
    address: str | None = None
    advertised_name: str | None = None
    simulated: bool = False
    spot: bool = False  # a cuff, thermometer, scale or meter: silence between measurements is no loss
    zone_s: Callable[[], float] = lambda: 0.0  # this box's local time minus UTC, which such wearables' clocks show
    ecg_stream: str | None = None  # the stream's id; None: its ECG is not wanted
    ecg_lead: str | None = None  # None: as the wearable says, else "ECG"
    ecg_first_index: int = 0  # where the stream goes on after a restart of the box …
    ecg_resumed_us: int | None = None  # … and when the sample before that index ended: the time since is a gap
    stored_after: Mapping[str, int] = field(default_factory=dict)  # by characteristic: newest record that is kept here
    durable: Callable[[], Awaitable[bool]] | None = None  # writes what was given out; True: it is all on disk …
    erase_stored: bool = False  # … and only then is it erased from the wearable's memory
    prove: Callable[[BleakClient], Awaitable[None]] | None = None  # raises when what answered is not the paired one
    user_index: int | None = None  # of a cuff or scale with several users: hers; None: all are

    def __post_init__(self) -> None:
        if self.address is None and self.advertised_name is None:
            raise ValueError(f"wearable {self.id}: needs an address or an advertised name")

    def matches(self, device: BLEDevice, heard: AdvertisementData) -> bool:
        """Is this advertisement of our wearable?"""
        if self.address is not None:
            return device.address.upper() == self.address.upper()
        return heard.local_name == self.advertised_name


class WearableSession:
    """A `SampleSource` for one wearable over `radio`. Made inside the running loop; `items` may be taken once."""

    def __init__(self, config: WearableConfig, radio: Radio, clock: Clock, randomness: random.Random) -> None:
        self.config = config
        self._radio = radio
        self._clock = clock
        self._random = randomness
        self._outbox = Outbox()
        self.intake = Intake(
            wearable=config.id,
            patient=config.patient,
            put=self._outbox.put,
            zone_s=config.zone_s,
            user_index=config.user_index,
        )
        self._spot = config.spot
        self._known: dict[str, Known] = {}  # of the wearable's memories, by characteristic
        self._fetching: dict[str, Fetching] = {}  # of the present link
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._state: LinkState | None = None
        self._told_lost = False
        self._failures = 0
        self._streaming: Driver | None = None  # whose ECG was started on the present link
        self._late_s = dict(LATE_S)
        self._flooded = 0  # refused notifications of the present link
        self._broken: asyncio.Future[str] | None = None  # of the present link: why it must end
        self._ended_s: float | None = None  # when the last link ended
        self.connections = 0

    @property
    def state(self) -> LinkState | None:
        """Where the session stands; None before `items` was asked for."""
        return self._state

    @property
    def queue_length(self) -> int:
        """Items that wait to be taken; bounded."""
        return len(self._outbox)

    async def items(self) -> AsyncGenerator[Item, None]:
        """Items until `close`. Raises only for a bug in this package."""
        if self._closing:
            return
        if self._task is not None:
            raise RuntimeError("items() of a session are taken once")
        self._task = asyncio.create_task(self._run(), name=f"wearable {self.config.id}")
        self._task.add_done_callback(self._on_ended)
        try:
            while (item := await self._outbox.get()) is not None:
                yield item
            if not self._closing:
                await self._task
        finally:
            await self.close()

    def _on_ended(self, _: asyncio.Task[None]) -> None:
        if not self._closing:  # by itself: a bug, which `items` raises after what came before
            self._outbox.close()

    async def close(self) -> None:
        """End the session and its link; `items` gives what is left and ends. Safe to call twice, and at any time."""
        self._closing = True
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait((task,))
        self._tell(LinkState.STOPPED, "stopped")
        self._outbox.close()

    def _tell(self, state: LinkState, reason: str) -> None:
        if state is self._state:
            return
        self._state = state
        logger.info("link", extra={"wearable": self.config.id, "state": str(state), "reason": reason})
        self._outbox.put(
            LinkChange(
                wearable=self.config.id,
                patient=self.config.patient,
                time_us=self._clock.now_us(),
                state=state,
                reason=reason,
            )
        )

    async def _run(self) -> None:
        """The session's life. Ends only by being cancelled."""
        while True:
            up_s = 0.0
            try:
                device = await self._find()
                up_s = await self._use(device)
            except (BleakError, WearableError, DecodeError, TimeoutError, OSError, EOFError) as error:
                self._lose(_reason(error))
            self._failures = 0 if up_s > STABLE_S else self._failures + 1
            await asyncio.sleep(self._backoff_s())

    def _lose(self, reason: str) -> None:
        if self._spot:
            self._tell(LinkState.RESTING, "waits for the next measurement")
            return
        if self._state is LinkState.UP or not self._told_lost:
            self._told_lost = True
            self._tell(LinkState.LOST, reason)

    def _backoff_s(self) -> float:
        capped_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(self._failures, 10))
        return capped_s * self._random.uniform(0.5, 1.0)

    async def _find(self) -> BLEDevice:
        """Scan until the wearable is heard."""
        if self._spot:
            self._tell(LinkState.RESTING, "waits for the next measurement")
        else:
            self._tell(LinkState.SEARCHING, "searching")
        begun_s = self._clock.monotonic_s()
        self.intake.presence.searching(begun_s)
        while True:
            found: asyncio.Future[BLEDevice] = asyncio.get_running_loop().create_future()
            scanner = self._radio.scanner(self._listener(found))
            await within(CALL_S, scanner.start())
            try:
                waited_s = self._clock.monotonic_s() - begun_s
                quiet_s = SCAN_S if self._told_lost or waited_s >= NOT_FOUND_S else NOT_FOUND_S - waited_s
                await asyncio.wait((found,), timeout=quiet_s)
            finally:
                with contextlib.suppress(BleakError, TimeoutError, OSError, EOFError):
                    await within(CALL_S, scanner.stop())
            if found.done():
                return found.result()
            if not self._told_lost and not self._spot:
                words = self.intake.presence.words(self._clock.monotonic_s(), self._ended_s or begun_s)
                self._lose(f"not found within {NOT_FOUND_S:.0f} s: {words}")

    def _listener(self, found: asyncio.Future[BLEDevice]) -> OnAdvertisement:
        def heard(device: BLEDevice, advertisement: AdvertisementData) -> None:
            if not self.config.matches(device, advertisement):
                self.intake.presence.other(self._clock.monotonic_s())
            elif not found.done():
                self.intake.presence.heard(advertisement.rssi)
                found.set_result(device)

        return heard

    async def _use(self, device: BLEDevice) -> float:
        """Connect and stay as long as data come; seconds for which the wearable was up."""
        self._tell(LinkState.CONNECTING, "connecting")
        broken = self._broken = asyncio.get_running_loop().create_future()
        client = self._radio.client(device, lambda _: self._break(self._why_lost()))
        try:
            await within(self._radio.ready_s, client.connect())
            if self.config.prove is not None:
                await within(PROVE_S, self.config.prove(client))
            self.connections += 1
            self._flooded = 0
            self.intake.begin_link(self._clock.monotonic_s())
            signals = await self._subscribe(client)
            up_since_s = self._clock.monotonic_s()
            self._told_lost = False
            self._tell(LinkState.UP, "data arrive")
            fetching = asyncio.create_task(self._fetch_all(), name=f"memory of {self.config.id}")
            try:
                reason = await (self._watch(client, signals, broken) if signals else self._visit(broken))
            finally:
                fetching.cancel()
                await asyncio.wait((fetching,))
            self._lose(reason)
            return self._clock.monotonic_s() - up_since_s
        finally:
            self._broken = None
            self._fetching = {}
            self._ended_s = self._clock.monotonic_s()
            await self._drop(client)

    def _break(self, reason: str) -> None:
        if self._broken is not None and not self._broken.done():
            self._broken.set_result(reason)

    def _why_lost(self) -> str:
        now_s = self._clock.monotonic_s()
        words = self.intake.presence.words(now_s, now_s)
        return "link lost: " + ("out of range or switched off" if words == UNKNOWN else words)

    async def _drop(self, client: BleakClient) -> None:
        if self._closing and self._streaming and client.is_connected:  # a strap that goes on streaming drains itself
            with contextlib.suppress(BleakError, TimeoutError, OSError, EOFError):
                await within(STOP_S, self._streaming.stop(LinkedDevice(client, self._on_driven)))
        self._streaming = None
        try:
            await within(CLOSE_S, client.disconnect())
        except (BleakError, TimeoutError, OSError, EOFError) as error:
            logger.warning("disconnect failed", extra={"wearable": self.config.id, "error": type(error).__name__})

    async def _subscribe(self, client: BleakClient) -> list[str]:
        """Ask for every signal that the wearable has; those asked for, most important first."""
        signals: list[str] = []
        for uuid in (heart_rate.MEASUREMENT, plx.CONTINUOUS):
            if client.services.get_characteristic(uuid) is not None:
                await self._notify(client, uuid)
                signals.append(uuid)
        charge = client.services.get_characteristic(battery.LEVEL)
        if charge is not None:
            if "notify" in charge.properties:  # many a cuff can only be asked
                await self._notify(client, battery.LEVEL)
            await self._read_battery(client)
        if self.config.ecg_stream is not None:
            signals += await self._start_ecg(client, self.config.ecg_stream)
        spots = [uuid for uuid in spot.UUIDS if client.services.get_characteristic(uuid) is not None]
        if spots:
            await self._right_clock(client)
        for uuid in spots:
            await self._notify(client, uuid)
        await self._prepare_memories(client)
        watched = [uuid for uuid in self._late_s if uuid in signals]
        if not watched and not spots:
            raise WearableError("the wearable has no signal that Bedside can read")
        self._spot = not watched
        return watched

    # ------------------------------------------------------------------ the wearable's memory

    async def _prepare_memories(self, client: BleakClient) -> None:
        for memory in memories_of(client):
            uuid = memory.measurement
            known = self._known.setdefault(uuid, Known(self.config.stored_after.get(uuid)))
            fetching = Fetching(client, memory, known, self)
            try:
                await fetching.prepare()
            except BleakError as error:  # a memory that cannot be asked is no reason to lose what is live
                logger.warning("no memory", extra={"wearable": self.config.id, "error": type(error).__name__})
                continue
            self._fetching[uuid] = fetching

    async def _fetch_all(self) -> None:
        for fetching in tuple(self._fetching.values()):
            await fetching.run(self.config.durable if self.config.erase_stored else None)

    def stored(self, measurement: str, packet: bytes) -> bool:
        """A record of the wearable's memory, for `Fetching`."""
        return self.intake.take_stored(measurement, packet, now_us=self._clock.now_us())

    def glucose_session(self, minute: int) -> None:
        """What a glucose sensor's status said, for `Fetching`."""
        self.intake.glucose_session(minute, self._clock.now_us())

    def fetched(self, measurement: str, evidence: Plain) -> None:
        """A portion of the memory is complete, for `Fetching`."""
        config = self.config
        self._outbox.put(
            Remark(
                wearable=config.id,
                patient=config.patient,
                time_us=self._clock.now_us(),
                kind="back_fill",
                evidence=evidence,
            )
        )

    async def drained(self) -> bool:
        """Wait until the consumer has taken everything, for `Fetching`; False when it stands still."""
        until_s = self._clock.monotonic_s() + DRAIN_S
        while len(self._outbox):
            if self._clock.monotonic_s() > until_s:
                return False
            await asyncio.sleep(0.01)
        return True

    # ------------------------------------------------------------------ clocks and signals

    async def _right_clock(self, client: BleakClient) -> None:
        """Learn how far the wearable's clock is off, and set it where it may be set."""
        found = client.services.get_characteristic(date_time.CURRENT_TIME)
        if found is None:
            return
        was_s = await self._clock_offset(client)
        wrong = was_s is None or abs(was_s + self.config.zone_s()) > CLOCK_WRONG_S
        if not wrong or "write" not in found.properties:
            self.intake.clock(was_s)
            return
        value = spot.current_time(self._clock.now_us(), self.config.zone_s())
        with contextlib.suppress(BleakError):  # some refuse; then their offset has to do
            await within(CALL_S, client.write_gatt_char(found, value.encode(), response=True))
        self.intake.clock(await self._clock_offset(client), was_s)  # what it kept bears the clock as it was

    async def _clock_offset(self, client: BleakClient) -> float | None:
        raw = await within(CALL_S, client.read_gatt_char(date_time.CURRENT_TIME))
        return spot.clock_offset_s(date_time.decode_current_time(bytes(raw)), self._clock.now_us())

    async def _visit(self, broken: asyncio.Future[str]) -> str:
        """A spot wearable hands over what it has; return when it leaves, or was silent for `VISIT_S`."""
        heard_s = self._clock.monotonic_s()
        while (left_s := heard_s + VISIT_S - self._clock.monotonic_s()) > 0:
            await asyncio.wait((broken,), timeout=left_s)
            if broken.done():
                return broken.result()
            heard_s = max((heard_s, *self.intake.last_s.values()))
        return "silent for long"

    async def _notify(self, client: BleakClient, uuid: str) -> None:
        def take(_: BleakGATTCharacteristic, payload: bytearray) -> None:
            self._take(uuid, bytes(payload))

        await within(CALL_S, client.start_notify(uuid, take))

    def _take(self, uuid: str, payload: bytes) -> None:
        clock, fetching = self._clock, self._fetching.get(uuid)
        if fetching is not None and fetching.on_notification(payload):
            return
        taken = self.intake.take(uuid, payload, now_us=clock.now_us(), now_s=clock.monotonic_s())
        if taken and fetching is not None:
            fetching.live(payload)
        if not taken:
            self._flooded += 1
            if self._flooded > FLOODED_MAX:
                self._break("the wearable sends too much: thousands of packets a second")

    async def _read_battery(self, client: BleakClient) -> None:
        if client.services.get_characteristic(battery.LEVEL) is None:
            return
        try:
            level = await within(CALL_S, client.read_gatt_char(battery.LEVEL))
        except BleakError:
            return  # some straps notify only; the notification will say it
        self._take(battery.LEVEL, bytes(level))

    async def _start_ecg(self, client: BleakClient, stream: str) -> list[str]:
        """Have the wearable's driver start its ECG; the characteristic of its data, or none where it has no ECG."""
        device = LinkedDevice(client, self._on_driven)
        driver = driver_for(device)
        if driver is None:
            return []
        running = self.intake.stream
        found = await driver.prepare(device, None if running is None else running.rate_hz)
        if running is None:
            self.intake.open_stream(
                StreamInfo(
                    id=stream,
                    patient=self.config.patient,
                    wearable=self.config.id,
                    kind=StreamKind.ECG,
                    label=self.config.ecg_lead or found.lead or "ECG",
                    rate_hz=found.rate_hz,
                    unit="mV",
                    unit_per_count=found.mv_per_count,
                    simulated=self.config.simulated,
                ),
                self.config.ecg_first_index,
                self.config.ecg_resumed_us,
            )
        elif (running.rate_hz, running.unit_per_count) != (found.rate_hz, found.mv_per_count):
            raise WearableError("the wearable is another one than this stream's: pair it anew")
        self.intake.follow(driver, found)
        self._late_s = {driver.data: driver.late_s, **LATE_S}
        await driver.start(device, found)
        self._streaming = driver
        return [driver.data]

    def _on_driven(self, uuid: str, payload: bytes) -> None:
        """What a driver listens to: its data are the session's too."""
        if uuid == self.intake.ecg_uuid:
            self._take(uuid, payload)

    async def _watch(self, client: BleakClient, signals: list[str], broken: asyncio.Future[str]) -> str:
        """Return, with the reason, when the link is lost or the wearable's own signal is late."""
        begun_s = self._clock.monotonic_s()
        asked_s = dict.fromkeys(signals, begun_s)  # since when we may expect each signal
        battery_s = begun_s
        while True:
            if self._clock.monotonic_s() - battery_s >= BATTERY_READ_S:
                battery_s = self._clock.monotonic_s()
                await self._read_battery(client)
            now_s = self._clock.monotonic_s()
            due_s: list[float] = []
            for uuid in signals:
                seen_s = max(self.intake.last_s.get(uuid, begun_s), asked_s[uuid])
                if now_s - seen_s >= self._late_s[uuid]:
                    if uuid == signals[0]:
                        return f"no {_signal(uuid)} for {self._late_s[uuid]:.0f} s although the link is up"
                    self._withdraw(uuid)
                    asked_s[uuid] = seen_s = now_s
                    await self._notify(client, uuid)
                due_s.append(seen_s + self._late_s[uuid])
            wait_s = max(0.05, min(due_s) - self._clock.monotonic_s())
            await asyncio.wait((broken,), timeout=wait_s)
            if broken.done():
                return broken.result()
            if self._clock.monotonic_s() - now_s > wait_s + STALL_S:  # the box slept, and data with it: wait anew
                asked_s = dict.fromkeys(signals, self._clock.monotonic_s())

    def _withdraw(self, uuid: str) -> None:
        for code in _WITHDRAWN.get(uuid, ()):
            self._outbox.put(
                Reading(
                    wearable=self.config.id,
                    patient=self.config.patient,
                    code=code,
                    time_us=self._clock.now_us(),
                    value=None,
                    validity=Validity.REJECTED,
                    reason=f"no {_signal(uuid)} from the wearable",
                )
            )


def _signal(uuid: str) -> str:
    return {heart_rate.MEASUREMENT: "heart rate", plx.CONTINUOUS: "oximetry"}.get(uuid, "ECG")


def _reason(error: Exception) -> str:
    """Words for the screen. What a Bluetooth stack says may hold an address, so only our own texts pass."""
    if isinstance(error, (WearableError, DecodeError)):
        return str(error)
    if isinstance(error, TimeoutError):
        return "the wearable did not answer in time"
    if isinstance(error, BleakBluetoothNotAvailableError):
        return "this box's Bluetooth is switched off, missing or not allowed"
    if isinstance(error, OSError):
        return "this box's Bluetooth service does not answer: is bluetoothd running?"
    return f"the radio reported {type(error).__name__}"
