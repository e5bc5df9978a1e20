"""The pairing desk of a running gateway: hears what is near, carries attempts out, knows who has which wearable.

What it gives and takes goes over the local socket (`operations`); what follows from a pairing (a session that
starts, one that ends, what the records note) are functions passed in, so that this room knows no ward and no store.
One attempt at a time: a Bluetooth adapter pairs one wearable after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bleak import BleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakError

from bedside.ble import device_information
from bedside.ble.bonding import Bonding
from bedside.ble.bonds import BondStore, seal_export, unseal_export
from bedside.ble.desk_views import Heard, attempt_view, heard_view, kind_of, pairing_view
from bedside.ble.labels import label_of, read_label, spaced
from bedside.ble.pair_run import CALL_S, PairRun
from bedside.ble.pairing import LOOK_ALIKE, Ask, Attempt, BondLevel, Identity, Pairing, Question, Register, Stage
from bedside.ble.radio import Radio
from bedside.core.errors import SetupError, StoreError, WearableError
from bedside.core.ids import IdSource
from bedside.core.time import Clock, Worker

logger = logging.getLogger(__name__)

LISTEN_S = 60.0  # the desk goes on listening so long after it was last asked what is near
FRESH_S = 12.0  # a wearable that was not heard for so long is not near any more
HEARD_MAX = 64
ATTEMPTS_MAX = 32
PAUSE_S = 2.0


class PairingRadio(Radio, Protocol):
    """A radio that can make bonds."""

    @property
    def bonding(self) -> Bonding: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What pairing changes elsewhere. `audit(actor, action, patient, detail)` returns at once."""

    attach: Callable[[Pairing], Awaitable[None]]  # her session takes the wearable in
    detach: Callable[[Pairing], Awaitable[None]]  # … lets it go; its link has ended on return
    audit: Callable[[str, str, str, dict[str, str]], None]
    known: Callable[[str], bool]  # is there such a patient?
    bed: Callable[[str], str]  # what a screen calls her place
    fixed: Mapping[str, str]  # address: patient, of wearables that the settings name


class DeskError(SetupError):
    """Somebody asked for what the desk cannot do now."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="")


class PairingDesk:
    """Made in the running loop. `run` listens while somebody pairs; the rest answers the socket."""

    def __init__(
        self, radio: PairingRadio, store: BondStore, label_key: bytes, effects: Effects, *,
        clock: Clock, ids: IdSource, worker: Worker,
    ) -> None:  # fmt: skip
        self._radio = radio
        self._store = store
        self._label_key = label_key
        self._effects = effects
        self._clock = clock
        self._ids = ids
        self._worker = worker
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._ear = asyncio.Lock()  # held while the desk scans: an attempt has the adapter for itself
        self._listen_until_s = 0.0
        self._run: PairRun | None = None
        self._task: asyncio.Task[None] | None = None
        self._over: OrderedDict[str, Attempt] = OrderedDict()
        self._made: dict[str, str] = {}  # attempt: the wearable that it made
        self._doubts: dict[str, str] = {}  # wearable: why what answers is not believed
        self._changes = asyncio.Lock()

    @property
    def register(self) -> Register:
        """Who has which wearable now."""
        return self._store.register

    # ------------------------------------------------------------------ listening

    async def run(self) -> None:
        """Scan while somebody looks for a wearable, until cancelled; then end what is under way."""
        try:
            while True:
                await self._wanted.wait()
                try:
                    async with self._ear:
                        await self._listen()
                except (BleakError, TimeoutError, OSError, EOFError) as error:
                    logger.warning("cannot listen for wearables", extra={"reason": type(error).__name__})
                    await asyncio.sleep(PAUSE_S)
        finally:
            await self.close()

    async def close(self) -> None:
        """End the attempt that is under way. Safe to call twice."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        scanner = self._radio.scanner(self._on_heard)
        async with asyncio.timeout(CALL_S):
            await scanner.start()
        try:
            while self._wanted.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._unwanted.wait()
                if self._clock.monotonic_s() >= self._listen_until_s:
                    self._wanted.clear()
        finally:
            with contextlib.suppress(BleakError, TimeoutError, OSError, EOFError):
                async with asyncio.timeout(CALL_S):
                    await scanner.stop()

    def _on_heard(self, device: BLEDevice, advertisement: AdvertisementData) -> None:
        kind = kind_of(advertisement.service_uuids)
        if kind is None and device.address not in self._heard:
            return
        address = device.address.upper()
        known = self._heard.pop(address, None)
        rssi = float(advertisement.rssi)
        self._heard[address] = Heard(
            address=address,
            name=(advertisement.local_name or device.name or "")[:40] or "?",
            kind=kind or (known.kind if known is not None else ""),
            rssi_dbm=rssi if known is None else 0.7 * known.rssi_dbm + 0.3 * rssi,
            heard_s=self._clock.monotonic_s(),
            label=label_of(self._label_key, address),
        )
        while len(self._heard) > HEARD_MAX:
            self._heard.popitem(last=False)

    def _near(self) -> list[Heard]:
        oldest_s = self._clock.monotonic_s() - FRESH_S
        near = [one for one in self._heard.values() if one.heard_s >= oldest_s]
        return sorted(near, key=lambda one: -one.rssi_dbm)

    # ------------------------------------------------------------------ the socket

    def operations(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[Any]]]:
        """By name; `core.api` says what each takes and gives."""
        return {
            "pair_heard": self._answer_heard,
            "pair_begin": self._answer_begin,
            "pair_state": self._answer_state,
            "pair_answer": self._answer_answer,
            "pair_undo": self._answer_undo,
            "pairings": self._answer_pairings,
            "unpair": self._answer_unpair,
            "pair_export": self._answer_export,
            "pair_import": self._answer_import,
        }

    async def _answer_heard(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        if self._run is None or self._run.attempt.over or self._run.attempt.stage is Stage.ASKED:
            self._listen_until_s = self._clock.monotonic_s() + LISTEN_S
            self._unwanted.clear()
            self._wanted.set()
        register, found = self._store.register, []
        for one in self._near():
            pairing = register.of_address(one.address)
            owner = pairing.patient if pairing is not None else self._effects.fixed.get(one.address)
            found.append(heard_view(one, owner))
        return found

    async def _answer_begin(self, request: dict[str, Any]) -> dict[str, Any]:
        patient, by = self._patient(request), _named(request)
        if self._run is not None and not self._run.attempt.over:
            raise DeskError("another wearable is being paired: wait until it is done, or end that")
        chosen, by_label = self._chosen(request)
        staff = request.get("staff") is True
        asks = self._asks(chosen, patient, by_label=by_label, staff=staff)
        user_index = request.get("user_index")
        if user_index is not None and not (isinstance(user_index, int) and 0 <= user_index < 255):
            raise DeskError("user_index: expected 0 to 254")
        attempt = Attempt(id=self._ids.thing(), patient=patient, chosen=chosen)
        run = self._run = PairRun(attempt, self._radio, self._radio.bonding, self._keep)
        self._effects.audit(by, "pairing_begun", patient, {"label": label_of(self._label_key, chosen.address)})
        self._wanted.clear()
        self._unwanted.set()
        self._task = asyncio.create_task(self._carry_out(run, asks, by, user_index), name="pairing")
        return self._view(attempt)

    async def _answer_state(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._view(self._attempt(request))

    async def _answer_answer(self, request: dict[str, Any]) -> dict[str, Any]:
        attempt, answer = self._attempt(request), request.get("answer")
        if self._run is None or self._run.attempt.id != attempt.id:
            raise DeskError("this attempt is over")
        if not isinstance(answer, bool | int):
            raise DeskError("answer: expected yes, no or a number")
        try:
            self._run.answer(answer)
        except ValueError as error:
            raise DeskError(str(error)) from error
        await asyncio.sleep(0)
        return self._view(self._run.attempt)

    async def _answer_undo(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take an attempt back, whether it is under way or done."""
        attempt, by = self._attempt(request), _named(request)
        wearable = self._made.pop(attempt.id, None)
        if wearable is not None:
            await self._unpair(wearable, by)
            self._over[attempt.id] = dataclasses.replace(attempt, stage=Stage.UNDONE)
        elif self._run is not None and self._run.attempt.id == attempt.id:
            self._run.undo()
            await self.close()
        return self._view(self._attempt(request))

    async def _answer_pairings(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        patient = request.get("patient")
        register = self._store.register
        pairings = register.pairings if patient is None else register.of_patient(str(patient))
        return [pairing_view(one, self._label(one), self._doubts.get(one.wearable)) for one in pairings]

    async def _answer_unpair(self, request: dict[str, Any]) -> dict[str, Any]:
        by = _named(request)
        await self._unpair(str(request.get("wearable")), by)
        return {}

    async def _answer_export(self, request: dict[str, Any]) -> dict[str, Any]:
        """All pairings with their bonds, sealed under a passphrase."""
        by, passphrase = _named(request), str(request.get("passphrase") or "")
        kept = [await self._with_keys(one) for one in self._store.register.pairings]
        sealed = await self._worker.run(lambda: seal_export(kept, passphrase))
        self._effects.audit(by, "pairings_exported", "", {"pairings": str(len(kept))})
        return {"sealed": sealed.hex(), "pairings": len(kept)}

    async def _answer_import(self, request: dict[str, Any]) -> dict[str, Any]:
        """Pairings of another box. Those of patients that this box does not know are left out, and counted."""
        by, passphrase = _named(request), str(request.get("passphrase") or "")
        try:
            sealed = bytes.fromhex(str(request.get("sealed") or ""))
        except ValueError as error:
            raise DeskError("this is no file of pairings") from error
        brought = await self._worker.run(lambda: unseal_export(sealed, passphrase))
        ours = [one for one in brought if self._effects.known(one.patient)]
        async with self._changes:
            try:
                register = self._store.register.put(ours)
            except ValueError as error:
                raise DeskError(str(error)) from error
            anew = 0
            for one in ours:
                usable = one.level is BondLevel.NONE or await self._radio.bonding.put_keys(
                    one.identity.address, one.keys
                )
                anew += not usable
            await self._worker.run(lambda: self._store.put(register))
            for one in ours:
                await self._effects.attach(one)
        self._effects.audit(by, "pairings_imported", "", {"pairings": str(len(ours))})
        return {"taken": len(ours), "left_out": len(brought) - len(ours), "pair_anew": anew}

    # ------------------------------------------------------------------ an attempt

    def _patient(self, request: dict[str, Any]) -> str:
        patient = str(request.get("patient"))
        if not self._effects.known(patient):
            raise DeskError("there is no such patient on this box")
        return patient

    def _chosen(self, request: dict[str, Any]) -> tuple[Identity, bool]:
        """Which wearable is meant, and whether its own label said so."""
        try:
            label = read_label(str(request.get("label") or ""))
        except ValueError as error:
            raise DeskError(str(error)) from error
        found = [one for one in self._near() if one.label == label]
        if len(found) > 1:
            raise DeskError("two wearables near here share this label: take one of them away")
        if found:
            return Identity(address=found[0].address, name=found[0].name), request.get("typed") is True
        for pairing in self._store.register.pairings:  # connected ones are not heard
            if self._label(pairing) == label:
                return pairing.identity, True
        raise DeskError("no wearable with this label is heard: switch it on, wear it, and hold it near")

    def _asks(self, chosen: Identity, patient: str, *, by_label: bool, staff: bool) -> list[Question]:
        register, asks = self._store.register, []
        fixed = self._effects.fixed.get(chosen.address.upper())
        if fixed is not None:
            raise DeskError("this wearable is named in the settings of this box: change it there")
        owned = register.of_address(chosen.address)
        if owned is not None and owned.patient != patient:
            if not staff:
                raise DeskError("this wearable belongs to somebody else here: ask your care team")
            text = f"This wearable watches {self._effects.bed(owned.patient)}. Take it from there and move it here?"
            asks.append(Question(ask=Ask.BELONGS, text=text, number=self._effects.bed(owned.patient)))
        mine = next((one for one in self._near() if one.address == chosen.address.upper()), None)
        alike = [
            one for one in self._near()
            if mine is not None and one.kind == mine.kind and one.address != mine.address
            and register.of_address(one.address) is None and one.address not in self._effects.fixed
        ]  # fmt: skip
        if alike and not by_label:
            label = spaced(label_of(self._label_key, chosen.address))
            text = f"Several of this kind are near. Is yours the one with the label {label}?"
            asks.append(Question(ask=Ask.ALIKE, text=text, number=label))
        return asks

    async def _carry_out(self, run: PairRun, asks: list[Question], by: str, user_index: int | None) -> None:
        attempt = run.attempt
        before = self._store.register.of_address(attempt.chosen.address)
        freed = False

        async def free() -> None:
            nonlocal freed
            self._wanted.clear()
            self._unwanted.set()
            async with self._ear:
                pass
            if before is not None:
                freed = True
                await self._effects.detach(before)

        try:
            await run.run(asks, free, None)
            if run.attempt.stage is Stage.PAIRED:
                await self._keep_pairing(run, before, by, user_index)
                return
        except StoreError as error:
            logger.error("pairing not kept", extra={"reason": str(error)})
            run.attempt = dataclasses.replace(
                run.attempt, stage=Stage.REFUSED, reason="the pairing could not be written: nothing was changed"
            )
        finally:
            self._keep(run.attempt)
            if run.attempt.stage is not Stage.PAIRED:
                self._effects.audit(by, "pairing_refused", attempt.patient, {"why": run.attempt.reason[:200]})
                if before is None and attempt.stage is not Stage.SEEN:
                    await self._radio.bonding.forget(attempt.chosen.address)
                if freed and before is not None:
                    await self._effects.attach(before)  # it is hers still

    async def _keep_pairing(self, run: PairRun, before: Pairing | None, by: str, user_index: int | None) -> None:
        attempt = run.attempt
        facts = attempt.facts
        assert facts is not None
        mine = before is not None and before.patient == attempt.patient
        pairing = Pairing(
            wearable=before.wearable if before is not None and mine else self._ids.thing(),
            patient=attempt.patient,
            identity=facts.identity,
            level=facts.level,
            paired_us=self._clock.now_us(),
            spot=facts.spot,
            user_index=user_index,
            keys=await self._radio.bonding.keys(facts.identity.address),
        )
        async with self._changes:
            register = self._store.register
            if before is not None:
                register = register.without(before.wearable)
            register = register.add(pairing)
            await self._worker.run(lambda: self._store.put(register))
        self._made[attempt.id] = pairing.wearable
        self._doubts.pop(pairing.wearable, None)
        self._effects.audit(by, "paired", attempt.patient, {"label": self._label(pairing), "bond": str(facts.level)})
        if before is not None and not mine:
            self._effects.audit(by, "unpaired", before.patient, {"label": self._label(before), "why": "moved"})
        await self._effects.attach(pairing)

    async def _unpair(self, wearable: str, by: str) -> None:
        async with self._changes:
            pairing = self._store.register.of_wearable(wearable)
            if pairing is None:
                raise DeskError("there is no such pairing: it was taken back already")
            await self._worker.run(lambda: self._store.put(self._store.register.without(wearable)))
        self._doubts.pop(wearable, None)
        self._effects.audit(by, "unpaired", pairing.patient, {"label": self._label(pairing)})
        await self._effects.detach(pairing)
        await self._radio.bonding.forget(pairing.identity.address)

    def _keep(self, attempt: Attempt) -> None:
        self._over[attempt.id] = attempt
        while len(self._over) > ATTEMPTS_MAX:
            gone, _ = self._over.popitem(last=False)
            self._made.pop(gone, None)

    def _attempt(self, request: dict[str, Any]) -> Attempt:
        wanted, patient = str(request.get("attempt")), request.get("patient")
        attempt = self._over.get(wanted)
        if self._run is not None and self._run.attempt.id == wanted:
            attempt = self._run.attempt if attempt is None or not attempt.over else attempt
        if attempt is None or (patient is not None and attempt.patient != patient):
            raise DeskError("there is no such attempt to pair")
        return attempt

    def _view(self, attempt: Attempt) -> dict[str, Any]:
        run = self._run if self._run is not None and self._run.attempt.id == attempt.id else None
        question = run.question if run is not None and not attempt.over else None
        view = attempt_view(attempt, question, run.shown if run is not None else "")
        return {**view, "wearable": self._made.get(attempt.id)}

    def _label(self, pairing: Pairing) -> str:
        return label_of(self._label_key, pairing.identity.address)

    async def _with_keys(self, pairing: Pairing) -> Pairing:
        keys = await self._radio.bonding.keys(pairing.identity.address)
        return dataclasses.replace(pairing, keys=keys or pairing.keys)

    # ------------------------------------------------------------------ each link of a paired wearable

    async def restore(self) -> None:
        """Give the radio the bonds of before a restart, where it does not keep them itself."""
        for one in self._store.register.pairings:
            if one.keys and not await self._radio.bonding.keys(one.identity.address):
                await self._radio.bonding.put_keys(one.identity.address, one.keys)

    async def prove(self, wearable: str, client: BleakClient) -> None:
        """Is what answers really the paired wearable? Raises `WearableError` with words for the screen."""
        pairing = self._store.register.of_wearable(wearable)
        if pairing is None:
            raise WearableError("this wearable is not paired any more")
        try:
            await self._prove(pairing, client)
        except WearableError as error:
            self._doubts[wearable] = str(error)
            raise
        self._doubts.pop(wearable, None)
        if not pairing.proven:
            async with self._changes:
                register = self._store.register.add(dataclasses.replace(pairing, proven=True))
                await self._worker.run(lambda: self._store.put(register))

    async def _prove(self, pairing: Pairing, client: BleakClient) -> None:
        if pairing.level is not BondLevel.NONE:
            try:
                await self._radio.bonding.prove(client)
            except WearableError as error:
                raise WearableError(f"{error}: if it was reset, pair it again") from error
        serial = pairing.identity.serial
        if serial and client.services.get_characteristic(device_information.SERIAL) is not None:
            async with asyncio.timeout(CALL_S):
                said = bytes(await client.read_gatt_char(device_information.SERIAL))
            if said.decode("utf-8", "replace").strip("\0 ")[:40] != serial:
                raise WearableError(LOOK_ALIKE)


def _named(request: dict[str, Any]) -> str:
    by = str(request.get("by") or "").strip()
    if not 0 < len(by) <= 100:
        raise DeskError("`by` must name who does it (1 to 100 characters)")
    return by
