"""The sender: keeps the rhythm of `slots`, and carries alerts and statements from the outbox to the operator.

States of what it has to tell:

    an alarm changes ─ offer ─> waiting (on disk, encrypted) ─ envelope acknowledged ─> told
    an epoch begins  ─ beacon ─> statement made (on disk, numbered) ─ answered ─> verified or refused

An envelope is made half a second before its slot and leaves at the slot's start: whether it holds
alerts changes neither when it leaves nor its size. Nothing is tried again before the next slot. So
the worst delay that this way adds to an alert is one slot and that half second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from bedside.attestation.alert import Alert, Envelope, fill, seal
from bedside.attestation.exchange import (
    Ack,
    Enrolment,
    MessageError,
    Sealed,
    Subject,
    decode_ack,
    encode_enrolment,
    encode_envelope,
)
from bedside.attestation.sign1 import Signer
from bedside.attestation.statement import CTI_BYTES, Measured, Statement, make
from bedside.attestation.statement import Link as ChainLink
from bedside.attestation.work import Piece, WorkSample
from bedside.core.api import PartView
from bedside.core.errors import LinkError, StoreError
from bedside.core.events import Alarm
from bedside.core.keyfiles import load_or_make
from bedside.core.ports import Link
from bedside.core.sealing import OpeningKey, SealingKey
from bedside.core.time import US_PER_S, Clock, Worker, iso_utc
from bedside.network.audits import AuditDesk
from bedside.network.identity import PUBLIC_FILE, Identity, write_public
from bedside.network.links import UnixLink
from bedside.network.outbox import KEY_BYTES, Made, Outbox
from bedside.network.recipient import read_recipients
from bedside.network.slots import Errand, Moment, Rhythm, Standing, due
from bedside.settings import Home

log = logging.getLogger(__name__)

OFFERED_MAX: Final = 1024  # alarms on their way to the disk; the disk is behind by milliseconds
PREPARE_S: Final = 0.5
ANSWER_SLOTS: Final = 0.4  # an answer is in before the next moment, half a slot later, or it is none
NO_TOKEN: Final = "no token"  # noqa: S105
_REASONS_LOST: Final = frozenset({"unknown_key"})  # the operator no longer knows us: enrol again


class Identified(Signer, Protocol):
    """The gateway's key and pseudonym towards one operator (`identity.Identity`)."""

    @property
    def operator(self) -> str:
        """The operator's name, in the pseudonym's label."""
        ...

    @property
    def sueid(self) -> bytes:
        """The pseudonym."""
        ...


class NetworkSender:
    """One gateway's way to one operator. `run` it in a task; `offer` alarms; `close` it once."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        link: Link,
        identity: Identified,
        recipients: Sequence[SealingKey],
        measured: Measured,
        clock: Clock,
        worker: Worker,
        token: Callable[[], str | None],
        epoch_s: float = 3600.0,
        slot_s: float = 10.0,
        auditor: bytes | None = None,
    ) -> None:
        """`worker` owns the outbox; `token` gives the operator's enrolment token when there is one; `auditor` is the
        public key of the care site's auditor, None for a home without one."""
        self._outbox, self._link, self._identity = outbox, link, identity
        self._measured, self._clock, self._worker, self._token = measured, clock, worker, token
        self._rhythm = Rhythm.of(slot_s=slot_s, epoch_s=epoch_s)
        self._tells = bool(recipients)
        # Without a recipient the rhythm goes on, sealed to a key that nobody keeps, and alerts wait.
        self._recipients = tuple(recipients) or (OpeningKey.generate().public,)
        self._prepare_us = min(round(PREPARE_S * US_PER_S), self._rhythm.slot_us // 8)
        self._offered: deque[Alert] = deque(maxlen=OFFERED_MAX)
        self._keeping: list[Alert] = []
        self._offer_came = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self._work = WorkSample(self._rhythm.slots_per_epoch)
        self._work_lock = threading.Lock()  # models may run in other threads
        self.audits = AuditDesk(auditor, identity.sueid, outbox, worker, clock)
        self._beacon: tuple[int, int, bytes] | None = None  # our epoch, the operator's, its beacon
        self._stated_epoch: int | None = outbox.number("stated_epoch") or None
        self._enrolled = bool(outbox.number("enrolled"))
        self._last_ack_us: int | None = None
        self._failure: str | None = None  # why the newest message got no answer
        self._enrol_refusal = ""  # why the operator does not take us
        self._statement_refusal: str | None = None  # empty: the newest statement was verified
        self._envelope_refusal = ""
        self._clock_back = False
        self._disk_failures: dict[str, str] = {}  # by what could not be written

    def offer(self, alarm: Alarm) -> None:
        """Tell the care team elsewhere of this change. Never blocks; the same change offered twice is told once."""
        if len(self._offered) == OFFERED_MAX:  # only when the disk has stood still for two thousand changes
            log.error("alarm dropped: the outbox cannot be written")
        self._offered.append(Alert.of(alarm))
        self._offer_came.set()

    def commit_work(self, model: bytes, inputs: bytes, outputs: bytes) -> None:
        """Commit one inference (digest of the model, int8 tensors) to the epoch's work tree. Safe from any thread."""
        piece = Piece(model, inputs, outputs, self._rhythm.slot(self._clock.now_us()))
        with self._work_lock:
            self._work.offer(piece)

    @property
    def identity(self) -> Identified:
        """Who this gateway is to the operator."""
        return self._identity

    async def run(self) -> None:
        """Keep the rhythm until `close`, or until cancelled."""
        if self._closed:
            return
        try:
            self._tasks = [
                asyncio.create_task(self._keep_offered(), name="network-outbox"),
                asyncio.create_task(self._keep_rhythm(), name="network-rhythm"),
            ]
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    raise error  # a bug: the gateway restarts this part, loudly
        finally:
            await self._end_tasks()

    async def close(self) -> None:
        """Stop, bring what was offered to disk, release link and outbox. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        await self._end_tasks()
        await self._flush()
        await self._link.close()
        await self._worker.run(self._outbox.close)

    def status(self) -> PartView:
        """For the ward's list of parts."""
        state, detail = self._state()
        return PartView(name="network", state=state, detail=detail)

    # The rhythm

    async def _keep_rhythm(self) -> None:
        while True:
            moment = self._rhythm.next_moment(self._clock.now_us())
            if moment.is_errand:
                if await self._sleep_until(moment.at_us):
                    await self._run_errand()
            elif await self._sleep_until(moment.at_us - self._prepare_us):
                envelope, message = await self._prepare(moment)
                if await self._sleep_until(moment.at_us):
                    await self._send_envelope(envelope, message)

    async def _sleep_until(self, at_us: int) -> bool:
        """Whether the moment came; False when the clock was set meanwhile and the moment must be chosen anew."""
        while (left_us := at_us - self._clock.now_us()) > 0:
            if left_us > self._rhythm.slot_us:
                return False
            await asyncio.sleep(left_us / US_PER_S)
        return left_us > -self._rhythm.slot_us

    async def _prepare(self, moment: Moment) -> tuple[Envelope, bytes]:
        epoch = self._rhythm.epoch(moment.at_us)
        await self._on_disk("service", lambda: self._outbox.note_slot(epoch))
        waiting = self._outbox.waiting() if self._tells else []
        envelope = fill(moment.slot, moment.at_us, self._rhythm.slot_us // 1000, waiting, self._identity)
        parts = [Sealed(key.id, seal(envelope, self._identity, key)) for key in self._recipients]
        return envelope, encode_envelope(moment.slot, parts, self._identity)

    async def _send_envelope(self, envelope: Envelope, message: bytes) -> None:
        ack = await self._ask(Subject.ENVELOPE, message)
        if ack is not None:
            self._envelope_refusal = ack.reason
        if ack is not None and ack.ok and envelope.alerts:
            await self._on_disk("delivered", lambda: self._outbox.delivered(envelope.alerts))

    async def _run_errand(self) -> None:
        try:
            await self._errand()
        except StoreError as error:  # no statement leaves that is not on disk; due again in the next slot
            self._disk_failed("statement", error)
        else:
            self._disk_failures.pop("statement", None)

    async def _errand(self) -> None:
        epoch = self._rhythm.epoch(self._clock.now_us())
        beacon_epoch = self._beacon[0] if self._beacon is not None else None
        match due(Standing(self._enrolled, beacon_epoch, self._stated_epoch), epoch):
            case Errand.ENROL:
                await self._enrol()
            case Errand.BEACON:
                await self._fetch_beacon(epoch)
            case Errand.STATEMENT:
                if not await self.audits.holds_up():
                    await self._state_epoch(epoch)
            case None:
                return

    # Errands

    async def _enrol(self) -> None:
        identity = self._identity
        token = self._token() or ""  # without one we ask all the same: what leaves depends on no file
        enrolment = Enrolment(token, identity.public_key, identity.sueid, self._measured)
        ack = await self._ask(Subject.ENROL, encode_enrolment(enrolment, identity))
        if ack is None:
            return
        self._enrol_refusal = ack.reason if token else NO_TOKEN
        if ack.ok or ack.reason == "key_enrolled_before":
            self._enrol_refusal = ""
            await self._set_enrolled(True)

    async def _fetch_beacon(self, epoch: int) -> None:
        ack = await self._ask(Subject.BEACON, b"")
        if ack is None or not ack.ok:
            return
        stated = await self._worker.run(self._outbox.newest_statement)
        if stated is not None and stated.answer is not None and ack.epoch <= stated.epoch:
            self._clock_back = ack.epoch < stated.epoch
            return  # by the operator's clock the new epoch has not begun: ask again in a slot
        self._clock_back = False
        self._beacon = (epoch, ack.epoch, ack.beacon)
        self.audits.beacon_came(ack.epoch, ack.beacon)

    async def _state_epoch(self, epoch: int) -> None:
        assert self._beacon is not None
        _, operator_epoch, beacon = self._beacon
        slots = self._rhythm.slots_per_epoch
        data = await self._worker.run(
            lambda: self._outbox.statement(
                operator_epoch, self._outbox.in_service(epoch, slots), lambda link: self._build(link, beacon)
            )
        )
        self._clock_back = data is None
        if data is None:
            return
        ack = await self._ask(Subject.STATEMENT, data)
        if ack is None or ack.reason == "try_again":
            return
        self._statement_refusal = ack.reason
        if await self._on_disk("answer", lambda: self._outbox.answered(data, ack.reason, epoch)):
            self._stated_epoch = epoch
        log.info("statement answered", extra={"epoch": operator_epoch, "refused": ack.reason or None})

    def _build(self, link: ChainLink, beacon: bytes) -> Made:
        with self._work_lock:
            tree = self._work.close()
        statement = Statement(
            beacon=beacon,
            cti=os.urandom(CTI_BYTES),
            issued_s=max(0, self._clock.now_us() // US_PER_S),
            operator=self._identity.operator,
            sueid=self._identity.sueid,
            boot_count=self._outbox.number("boot_count"),
            measured=self._measured,
            work_root=tree.root,
            link=link,
            audit=self.audits.result_for(link.epoch),
        )
        return Made(make(statement, self._identity), tree)

    async def _ask(self, subject: Subject, message: bytes) -> Ack | None:
        """The operator's answer; None when there was none, which the next slot mends."""
        try:
            async with asyncio.timeout(ANSWER_SLOTS * self._rhythm.slot_us / US_PER_S):
                ack = decode_ack(await self._link.send(subject, message, secrets.token_hex(16)))
        except (LinkError, MessageError, TimeoutError) as error:
            if self._failure is None:
                log.warning("operator does not answer", extra={"subject": str(subject), "error": str(error)})
            self._failure = str(error) or "no answer in time"
            return None
        if self._failure is not None:
            log.info("operator answers again")
        self._failure = None
        if ack.ok:
            self._last_ack_us = self._clock.now_us()
        elif ack.reason in _REASONS_LOST and subject is not Subject.ENROL and self._enrolled:
            await self._set_enrolled(False)
        return ack

    async def _set_enrolled(self, enrolled: bool) -> None:
        self._enrolled = enrolled
        self._beacon = None  # an operator that forgot us has other beacons
        await self._on_disk("enrolled", lambda: self._outbox.set_enrolled(enrolled))

    # Alarms on their way to the disk

    async def _keep_offered(self) -> None:
        while True:
            await self._offer_came.wait()
            self._offer_came.clear()
            if not await self._flush():
                await asyncio.sleep(1.0)  # the disk: try again, what was offered is still here
                self._offer_came.set()

    async def _flush(self) -> bool:
        """Bring what was offered to disk; it is held until it is there, also when this is cancelled half-way."""
        while self._offered and len(self._keeping) < OFFERED_MAX:
            self._keeping.append(self._offered.popleft())
        alerts = tuple(self._keeping)
        if not alerts:
            return True
        if not await self._on_disk("alerts", lambda: self._outbox.put_alerts(alerts)):
            return False
        self._keeping.clear()
        return True

    async def _on_disk(self, what: str, work: Callable[[], object]) -> bool:
        """Whether outbox work succeeded; where it failed the part is degraded and says so, and the rhythm goes on."""
        try:
            await self._worker.run(work)
        except StoreError as error:
            self._disk_failed(what, error)
            return False
        self._disk_failures.pop(what, None)
        return True

    def _disk_failed(self, what: str, error: StoreError) -> None:
        if what not in self._disk_failures:
            log.error("outbox cannot be written", extra={"what": what, "error": str(error)})
        self._disk_failures[what] = str(error)

    # Ends and views

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _state(self) -> tuple[str, str]:
        """State and sentence: the worst thing first."""
        waiting = self._outbox.waiting_count
        tail = f"{waiting} alert(s) wait" if waiting else "no alert waits"
        if self._disk_failures:
            failure = next(iter(self._disk_failures.values()))
            return "degraded", f"{failure}; new alerts are held in memory only until there is room; {tail}"
        if self._failure is not None:
            since = "none yet" if self._last_ack_us is None else iso_utc(self._last_ack_us)
            return "degraded", f"operator does not answer ({self._failure}); last acknowledgement {since}; {tail}"
        if not self._enrolled:
            if self._enrol_refusal:
                return (
                    "degraded",
                    f"not enrolled with the operator ({self._enrol_refusal}): bring a token from it; {tail}",
                )
            return "starting", "enrolling with the operator"
        if self._envelope_refusal and self._envelope_refusal != "unknown_key":
            return "degraded", f"the operator refused the newest envelope ({self._envelope_refusal}); {tail}"
        if not self._tells:
            return "degraded", f"no recipient is set up, alerts stay here; {tail}"
        if self._statement_refusal:
            return "degraded", f"the operator refused the newest statement: {self._statement_refusal}; {tail}"
        if self._clock_back:
            return "degraded", f"the operator's clock went back: no statement until it has caught up; {tail}"
        if self._last_ack_us is None:
            return "starting", "waiting for the first slot"
        stated = "verified" if self._statement_refusal == "" else "due"
        stated += self.audits.words
        return "ok", f"last acknowledgement {iso_utc(self._last_ack_us)}; statement {stated}; {tail}"


def open_sender(
    home: Home,
    *,
    measured: Measured,
    clock: Clock,
    worker: Worker,
    link: Link | None = None,
    epoch_s: float = 3600.0,
    slot_s: float = 10.0,
    auditor: bytes | None = None,
) -> NetworkSender:
    """The sender of the box in `home`, towards its embedded operator unless another `link` is given. Blocks.

    Makes the identity and the outbox's key at the first call, and writes the box's public file. Raises
    `SetupError` (a key file is damaged, a recipient's file is not one) and `StoreError` (the outbox).
    """
    identity = Identity.load_or_make(home.keys)
    write_public(identity, home.keys / PUBLIC_FILE)
    key = load_or_make(home.keys / "outbox.key", lambda: os.urandom(KEY_BYTES))
    return NetworkSender(
        outbox=Outbox.open(home.outbox_db, key),
        link=link or UnixLink(home.operator / "operator.sock"),
        identity=identity,
        recipients=read_recipients(home.keys / "recipients"),
        measured=measured,
        clock=clock,
        worker=worker,
        token=lambda: read_token(home.operator_token),
        epoch_s=epoch_s,
        slot_s=slot_s,
        auditor=auditor,
    )


def read_token(path: Path) -> str | None:
    """The operator's enrolment token, or None when none was left here."""
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
