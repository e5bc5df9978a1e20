"""The gateway: the composition root. Every part that runs is made and wired here, and ended here.

    bodies -> virtual wearables ┐
                                ├─ radio -> sessions -> watches -> recorder -> store
    straps  ────────────────────┘                          ├──> alerts -> outbox -> operator
                                                           └──> socket -> dashboard, status
    heartbeat -> annunciator

One event loop, one `TaskGroup`; the store and the outbox each have a worker of their own. Ends in one
way: the tasks are cancelled, what is in memory is written, sockets and files are released.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from bedside.alarms.table import limits
from bedside.alarms.watch import PatientWatch
from bedside.ble.air import Air
from bedside.ble.bumble_backend import CENTRAL_ADDRESS
from bedside.ble.desk import PairingDesk, PairingRadio
from bedside.ble.pairing import Pairing, Register
from bedside.ble.radio import BumbleRadio, Radio, SystemRadio
from bedside.ble.session import WearableConfig
from bedside.ble.virtual.cuff import VirtualCuff
from bedside.ble.virtual.security import Security, Way
from bedside.ble.virtual.wearable import VirtualWearable
from bedside.core.errors import BedsideError, StoreError
from bedside.core.events import Event
from bedside.core.physiology import Physiology
from bedside.core.ports import Link, Patient, SampleSource, Store
from bedside.core.supervision import ALIVE, READY, tell
from bedside.core.time import Clock
from bedside.edges import Edges as Edges
from bedside.models.inference import Model
from bedside.models.panel import Panel
from bedside.models.shelf import Shelf
from bedside.network import embedded
from bedside.network.audits import AuditPort, KnownAuditor
from bedside.network.links import UnixLink
from bedside.network.measure import measure
from bedside.network.sender import NetworkSender, open_sender
from bedside.pairings import Pairings, Resuming, ecg_stream_of, open_bonds
from bedside.records.budget import Level, look
from bedside.records.store import RecordStore, open_store
from bedside.records.witness import HeadWitness, witness_at
from bedside.settings import Home, PatientSetting, Settings, WearableSetting
from bedside.ward.care import quiet_of
from bedside.ward.heartbeat import Heartbeat, read_report
from bedside.ward.limits_desk import limits_of
from bedside.ward.parts import keep_running
from bedside.ward.socket import GatewaySocket
from bedside.ward.ward import Admission, WardFacts, WardMonitor

log = logging.getLogger(__name__)

HEALTH_S = 2.0
PACK_S = 1.0
WITNESS_S = 60.0
SHADOW_S = 60.0
PACK_STEPS_MAX = 3  # behind each other, so that a write never waits for more than that
PAUSE_LOOK_US = 130_000_000  # an audio pause that was begun longer ago is over
LIMITS_LOOK_US = 3_600_000_000
AUDITOR_FILE = "auditor-public.json"  # in the keys' folder: the care site that may audit this box
DISK_BYTES_MIN = 500_000_000  # about two months of one patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Somebody to be measured by a virtual wearable, and the bed she lies in."""

    physiology: Physiology
    bed: str
    paired: bool = True  # False: she is admitted without her strap, which lies near the box


class Gateway:
    """One gateway on one data folder. Make it with `open_gateway`."""

    def __init__(
        self,
        home: Home,
        ward: WardMonitor,
        store: RecordStore,
        edges: Edges,
        sender: NetworkSender | None,
        virtual: VirtualWard | None,
        radio: PairingRadio,
        desk: PairingDesk,
        audits: AuditPort | None = None,
        panel: Panel | None = None,
        witness: HeadWitness | None = None,
    ) -> None:
        self.ward = ward
        self._witness = witness
        self.sender = sender
        self.virtual = virtual
        self._home = home
        self._store = store
        self._edges = edges
        self.desk = desk
        self._radio = radio
        self._audits = audits
        self._panel = panel
        self._socket = GatewaySocket(home.gateway_socket, {**ward.operations(), **desk.operations()}, ward.ring)
        self._heartbeat = Heartbeat(home.annunciator_socket, edges.clock, ward.oldest_tick_s, ward.sounding)

    async def run(self) -> None:
        """Monitor until cancelled, then end cleanly."""
        clock, parts = self._edges.clock, self.ward.parts
        try:
            if self.virtual is not None:
                await self.virtual.start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.ward.run(), name="ward")
                for name, run in (("socket", self._socket.run), ("heartbeat", self._heartbeat.run)):
                    tasks.create_task(keep_running(name, run, parts, clock), name=name)
                if self.sender is not None:
                    tasks.create_task(keep_running("network sender", self.sender.run, parts, clock), name="network")
                if self._audits is not None:
                    tasks.create_task(keep_running("audit port", self._audits.run, parts, clock), name="audits")
                tasks.create_task(keep_running("pairing", self.desk.run, parts, clock), name="pairing")
                tasks.create_task(keep_running("packing", self._pack, parts, clock), name="packing")
                if self._witness is not None:
                    show = partial(self._show_heads, self._witness)
                    tasks.create_task(keep_running("witness", show, parts, clock), name="witness")
                tasks.create_task(keep_running("shadow", self._shadow, parts, clock), name="shadow")
                tasks.create_task(self._health(), name="health")
        finally:
            await self._end()

    async def _shadow(self) -> None:
        """Keep what a candidate and the live models said otherwise."""
        while True:
            await asyncio.sleep(SHADOW_S)
            await self._keep_comparison()

    async def _keep_comparison(self) -> None:
        keep = self._panel.unsaved() if self._panel is not None else None
        if keep is not None:
            try:
                await self._edges.records_worker.run(keep)
            except OSError as error:
                log.error("comparison not kept", extra={"error": error.strerror})

    async def _pack(self) -> None:
        """Pack old rows of the records into long ones, a few milliseconds at a time."""
        while True:
            await asyncio.sleep(PACK_S)
            for _ in range(PACK_STEPS_MAX):
                if not await self._edges.records_worker.run(self._store.compact_step):
                    break

    async def _show_heads(self, witness: HeadWitness) -> None:
        """The head of the records' log goes to the site's witness each minute; one that is away stops nothing."""
        while True:
            await asyncio.sleep(WITNESS_S)
            head = await self._edges.records_worker.run(lambda: self._store.signed_head(self._edges.clock.now_us()))
            try:
                await asyncio.to_thread(witness.keep, head)
            except BedsideError as error:
                log.warning("head not kept by the witness", extra={"reason": str(error)})
                self.ward.parts.set("witness", "degraded", str(error))
            else:
                self.ward.parts.set("witness", "ok", "heads are kept on another machine")

    async def _health(self) -> None:
        """Ask the parts that do not say it themselves how they do, and tell the service manager that all is turning."""
        tell(READY)
        while True:
            self.ward.parts.set("ble", *self.ward.links())
            if self.ward.facts.audio == "on":
                self.ward.speaker(*await self._edges.records_worker.run(self._loudspeaker))
            disk_low, free = await self._edges.records_worker.run(self._disk)
            self.ward.condition("disk", disk_low, detail=free)
            if self.sender is not None:
                view = self.sender.status()
                self.ward.parts.set("network", view["state"], view["detail"])
                failing = view["state"] in ("degraded", "failed")
                self.ward.condition("network", failing, detail=view["detail"] if failing else "")
            tell(ALIVE)  # the loop turned and the records' worker answered: else systemd starts the gateway anew
            await asyncio.sleep(HEALTH_S)

    def _disk(self) -> tuple[bool, str]:
        try:
            budget = self._store.budget()
        except StoreError:  # the store says itself what is wrong with it; the disk is looked at all the same
            budget = look(self._home.path)
        return budget.level > Level.ROOM or budget.free < DISK_BYTES_MIN, budget.sentence()

    def _loudspeaker(self) -> tuple[str, str]:
        return read_report(self._home.annunciator_report, self._edges.clock.now_us())

    async def _end(self) -> None:
        self.ward.audit("gateway", "stop")
        await self._keep_comparison()
        await self.ward.recorder.flush()
        if self.sender is not None:
            await self.sender.close()
        await self._radio.close()  # every session has closed its link by now
        if self.virtual is not None:
            await self.virtual.close()
        await self._edges.records_worker.run(self._store.close)
        self._heartbeat.farewell()
        self._edges.records_worker.close()
        self._edges.network_worker.close()


class VirtualWard:
    """Virtual wearables on one virtual radio, in this process: real GATT servers that measure bodies."""

    def __init__(self, bodies: Sequence[Body], seed: int, *, spare: bool = False) -> None:
        """`spare`: one strap more, which is nobody's and can be paired; it measures the first body."""
        self.air = Air()
        worn = [*bodies, bodies[0]] if spare else bodies
        self.wearables = [
            VirtualWearable(
                body.physiology,
                self.air,
                name=f"Bedside Virtual {number}",
                address=f"C0:BE:D5:1D:E0:{number:02X}",
                seed=seed + number,
            )
            for number, body in enumerate(worn, 1)
        ]
        self.security = [Security(one.device, Way.JUST_WORKS) for one in self.wearables]
        self.cuffs = [
            VirtualCuff(
                body.physiology, self.air, name=f"Bedside Cuff {number}", address=f"C0:BE:D5:1D:E1:{number:02X}"
            )
            for number, body in enumerate(bodies, 1)
            if body.physiology.pressure_mmhg(0.0) is not None
        ]

    async def remember(self, pairings: Iterable[Pairing]) -> None:
        """Wearables keep their bonds while a box restarts; these start with it, so they are given them back."""
        by_address = {wearable.address: one for wearable, one in zip(self.wearables, self.security, strict=True)}
        for pairing in pairings:
            if pairing.identity.address in by_address:
                await by_address[pairing.identity.address].remember(CENTRAL_ADDRESS, pairing.keys)

    async def start(self) -> None:
        """Switch all of them on."""
        for wearable in self.wearables:
            await wearable.start()
        for cuff in self.cuffs:
            await cuff.start()

    async def close(self) -> None:
        """Switch all of them off. Safe to call twice."""
        for cuff in self.cuffs:
            await cuff.close()
        for wearable in self.wearables:
            await wearable.close()
        self.air.close()


async def open_gateway(
    home: Home,
    settings: Settings,
    edges: Edges,
    *,
    bodies: Sequence[Body] = (),
    link: Link | None = None,
    demonstration: bool = False,
    observer: Callable[[Event], None] = lambda _: None,
    spare: bool = False,
) -> Gateway:
    """Open the records, admit the patients, take over the alarms that were open. `bodies` empty: real wearables.

    `observer` is told of every event as it happens (measurement); it must return at once. `spare`: beside the bodies'
    own virtual straps lies one that can be paired.

    Raises `SetupError` (folder, key, second gateway) and `StoreError`.
    """
    store = await edges.records_worker.run(lambda: open_store(home, now_us=edges.clock.now_us, set_aside_damaged=True))
    try:
        return await _compose(home, settings, edges, store, bodies, link, demonstration, observer, spare)
    except BaseException:
        await edges.records_worker.run(store.close)
        raise


async def _compose(
    home: Home,
    settings: Settings,
    edges: Edges,
    store: RecordStore,
    bodies: Sequence[Body],
    link: Link | None,
    demonstration: bool,
    observer: Callable[[Event], None],
    spare: bool,
) -> Gateway:
    panel = Panel.open(Shelf(home.models), lambda: settings.signers, edges.clock.now_us)
    windows = panel.windows()
    sender, audits = await _sender(home, settings, edges, tuple(panel.live.models.values()), link, demonstration)
    muted = "muted: demonstration" if demonstration else "muted by settings" if settings.muted else "on"
    facts = WardFacts(
        version=version("bedside"),
        demonstration=demonstration,
        audio=muted,
        stored_in=str(home.path),
        started_us=edges.clock.now_us(),
    )
    ward = WardMonitor(
        facts, store, edges.records_worker, edges.clock, edges.ids,
        lambda patient: PatientWatch(
            patient.id, edges.ids, panel.beats(), patient.simulated, windows=windows
        ),
        limits(), sender, observer,
    )  # fmt: skip
    virtual = VirtualWard(bodies, edges.randomness.getrandbits(32), spare=spare) if bodies else None
    radio: PairingRadio = BumbleRadio(virtual.air) if virtual is not None else SystemRadio()
    bonds = await edges.records_worker.run(lambda: open_bonds(home, store))
    wanted = [_virtual_patient(body, number) for number, body in enumerate(bodies, 1)]
    wanted += [_real_patient(patient) for patient in settings.patients] if not bodies else []
    pairings = Pairings(store, radio, edges, ward, bonds)
    admit = _Admitter(store, radio, edges, bonds.register, ward.recorder.flush)
    for one in wanted:
        admission = await edges.records_worker.run(lambda one=one: admit(one))  # type: ignore[misc]
        open_alarms = await edges.records_worker.run(lambda a=admission: store.open_alarms(a.patient.id))  # type: ignore[misc]
        noted = await edges.records_worker.run(lambda a=admission: _noted(store, a.patient.id, edges))  # type: ignore[misc]
        ward.admit(admission, open_alarms, limits_of(noted, edges.clock.now_us()), quiet_of(noted))
        pairings.admitted(admission.patient, one.fixed)
    now_us = edges.clock.now_us()
    recent = lambda: store.events(None, now_us - PAUSE_LOOK_US, now_us + 1, ("audit",))  # noqa: E731
    ward.restore_pause(await edges.records_worker.run(recent))
    ward.restore_box(await edges.records_worker.run(lambda: store.open_alarms(None)))
    _say_how_it_began(ward, store)
    _say_what_judges(ward, panel)
    await pairings.resume()
    if virtual is not None:
        await virtual.remember(bonds.register.pairings)
    witness = witness_at(settings.witness) if settings.witness else None
    return Gateway(home, ward, store, edges, sender, virtual, radio, pairings.desk, audits, panel, witness)


def _noted(store: RecordStore, patient: str, edges: Edges) -> Sequence[Event]:
    """A patient's newest audits: limits and what is switched off are noted every few minutes while in force."""
    now_us, newest_us = edges.clock.now_us(), store.newest_us(patient)
    if newest_us is None:
        return []
    return store.events(patient, min(newest_us, now_us) - LIMITS_LOOK_US, 2**62, ("audit",))


def _say_what_judges(ward: WardMonitor, panel: Panel) -> None:
    """Missing models are conditions, each with what still watches; a refused candidate harms nobody and is said."""
    faults = panel.live.faults
    for name, fault in faults.items():
        log.error("model refused", extra={"model": name, "reason": fault})
    ward.audit("gateway", "models", **panel.live.digests())
    degraded = [*faults.values(), *([panel.live.refused] if panel.live.refused is not None else [])]
    ward.parts.set("models", "degraded" if degraded else "ok", "; ".join(degraded) or panel.words())
    ward.condition("model_missing", "beats" in faults, detail=faults.get("beats", ""))
    ward.condition("rhythm_model_failed", "rhythm" in faults, detail=faults.get("rhythm", ""))
    ward.condition("models_refused", panel.live.refused is not None, detail=panel.live.refused or "")


def _say_how_it_began(ward: WardMonitor, store: RecordStore) -> None:
    report = store.opening_report
    ward.audit("gateway", "start", protection=report.protection, clean=report.previous_shutdown_clean)
    ward.parts.set("records", "ok", report.protection)
    if not report.previous_shutdown_clean:
        known = [store.newest_us(patient.id) for patient in store.patients()]
        ward.interrupted(max((one for one in known if one is not None), default=None))
    if report.set_aside is not None or report.damage:
        ward.condition("records", True, detail="damaged records were found at the start: see `bedside records verify`")


# ---------------------------------------------------------------- patients


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A patient as she is described; her ids are found in the records, or made."""

    name: str
    bed: str
    simulated: bool
    wearables: tuple[WearableSetting, ...]
    physiology: Physiology | None = None

    @property
    def fixed(self) -> tuple[str, ...]:
        """Addresses that need no pairing and allow none."""
        return tuple(one.address.upper() for one in self.wearables if one.address is not None)


def _virtual_patient(body: Body, number: int) -> _Wanted:
    return _Wanted(
        name=body.physiology.name,
        bed=body.bed,
        simulated=body.physiology.simulated,
        wearables=tuple(_virtual_wearables(body, number)) if body.paired else (),
        physiology=body.physiology,
    )


def _virtual_wearables(body: Body, number: int) -> Iterator[WearableSetting]:
    yield WearableSetting(name=f"Bedside Virtual {number}", address=f"C0:BE:D5:1D:E0:{number:02X}")
    if body.physiology.pressure_mmhg(0.0) is not None:
        yield WearableSetting(name=f"Bedside Cuff {number}", address=f"C0:BE:D5:1D:E1:{number:02X}", spot=True)


def _real_patient(setting: PatientSetting) -> _Wanted:
    return _Wanted(
        name=setting.name,
        bed=setting.bed,
        simulated=False,
        wearables=setting.wearables,
    )


class _Admitter:
    """Makes admissions. A patient with the same name and bed keeps her ids, so yesterday's records are hers."""

    def __init__(
        self, store: Store, radio: Radio, edges: Edges, paired: Register, durable: Callable[[], Awaitable[bool]]
    ) -> None:
        self._paired = paired
        self._store = store
        self._radio = radio
        self._edges = edges
        self._durable = durable

    def __call__(self, wanted: _Wanted) -> Admission:
        patient = self._patient(wanted)
        streams = [
            None if one.spot else self._ecg_stream(patient, wearable)
            for wearable, one in zip(patient.wearables, wanted.wearables, strict=False)
        ]
        configs = [
            WearableConfig(
                id=wearable, patient=patient.id, name=one.name, address=one.address,
                advertised_name=None if one.address else one.name, simulated=wanted.simulated, spot=one.spot,
                zone_s=self._edges.zone_s, ecg_stream=stream, durable=self._durable, erase_stored=one.erase_stored,
            )
            for wearable, stream, one in zip(patient.wearables, streams, wanted.wearables, strict=False)
        ]  # fmt: skip

        def sources() -> Sequence[SampleSource]:
            return [Resuming(config, self._radio, self._edges, self._store) for config in configs]

        return Admission(
            patient=patient,
            sources=sources,
            wearable_names={config.id: config.name for config in configs},
            script=wanted.physiology.script() if wanted.physiology is not None else (),
        )

    def _patient(self, wanted: _Wanted) -> Patient:
        known = next((p for p in self._store.patients() if (p.name, p.bed) == (wanted.name, wanted.bed)), None)
        ids = self._edges.ids
        own = [w for w in (known.wearables if known is not None else ()) if self._paired.of_wearable(w) is None]
        wearables = own[: len(wanted.wearables)]
        wearables += [ids.thing() for _ in range(len(wanted.wearables) - len(wearables))]
        if known is not None:
            wearables += [one.wearable for one in self._paired.of_patient(known.id)]
        patient = Patient(
            id=known.id if known is not None else ids.thing(),
            name=wanted.name,
            bed=wanted.bed,
            simulated=wanted.simulated,
            wearables=tuple(wearables),
        )
        self._store.put_patient(patient)
        return patient

    def _ecg_stream(self, patient: Patient, wearable: str) -> str:
        return ecg_stream_of(self._store, patient.id, wearable) or self._edges.ids.thing()


# ---------------------------------------------------------------- network


async def _sender(
    home: Home, settings: Settings, edges: Edges, models: Sequence[Model], link: Link | None, demonstration: bool
) -> tuple[NetworkSender | None, AuditPort | None]:
    """The way to the operator, and the socket for the site's auditor; None without a link, or without a site."""
    if link is None:
        return None, None
    if demonstration:  # its care team lives in a folder of the same box; on a site it is another machine
        embedded.prepare(home)
    auditor = KnownAuditor.load(home.keys / AUDITOR_FILE)
    measured = measure({model.name: model.digest for model in models})
    sender = await edges.network_worker.run(
        lambda: open_sender(
            home, measured=measured, clock=edges.clock, worker=edges.network_worker, link=link,
            epoch_s=settings.epoch_s, slot_s=settings.slot_s,
            auditor=auditor.public_key if auditor is not None else None,
        )
    )  # fmt: skip
    for model in models:
        model.observer = sender.commit_work
    if auditor is None:
        return sender, None
    return sender, AuditPort(home.audit_socket, sender.audits, auditor, sender.identity)


async def serve(home: Home, settings: Settings, clock: Clock, bodies: Sequence[Body]) -> None:
    """Run a gateway as a process: until SIGTERM or SIGINT, then end cleanly. `bodies` empty: real wearables."""
    gateway = await open_gateway(
        home, settings, Edges.of_the_box(clock), bodies=bodies, demonstration=bool(bodies), spare=bool(bodies),
        link=UnixLink(home.operator / "operator.sock"),
    )  # fmt: skip
    task = asyncio.create_task(gateway.run(), name="gateway")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
