"""One attempt carried out on a radio: bond, end the link, reach the wearable again, prove the bond, read it.

Drives the automaton of `pairing`; what somebody must answer is waited for, bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bleak import BleakClient
from bleak.backends.device import BLEDevice
from bleak.exc import BleakBluetoothNotAvailableError, BleakError

from bedside.ble import battery, device_information, heart_rate, plx, pmd, spot
from bedside.ble.bonding import PAIR_S, Bonding, CannotBond, OutOfBand
from bedside.ble.pairing import (
    PASSKEY_MAX,
    Answer,
    Ask,
    Attempt,
    Bonded,
    BondLevel,
    Choose,
    Dropped,
    Facts,
    Failed,
    Happening,
    Identity,
    Proved,
    Question,
    Stage,
    Unbonded,
    Undo,
    step,
)
from bedside.ble.radio import Radio
from bedside.core.errors import DecodeError, WearableError

logger = logging.getLogger(__name__)
T = TypeVar("T")

ANSWER_S = 120.0
HEAR_S = 20.0
CALL_S = 5.0
SIGNALS = {heart_rate.MEASUREMENT: "heart rate", pmd.DATA: "ECG", plx.CONTINUOUS: "oximetry"}
CONNECT_TRIES = 3  # bleak 3.1's connect fails now and then though the link is up (its issues 1489, 1806)

Changed = Callable[[Attempt], None]


class PairRun:
    """One attempt under way. It is its own `Asker`: a stack's question is put beside the automaton's."""

    def __init__(self, attempt: Attempt, radio: Radio, bonding: Bonding, changed: Changed) -> None:
        self.attempt = attempt
        self.shown = ""  # a number that somebody must type on the wearable
        self._radio = radio
        self._bonding = bonding
        self._changed = changed
        self._asked: tuple[Question, asyncio.Future[bool | int | None]] | None = None
        self._moved = asyncio.Event()

    @property
    def question(self) -> Question | None:
        """What is asked now, by us or by the Bluetooth stack."""
        return self._asked[0] if self._asked is not None else self.attempt.question

    def answer(self, value: bool | int) -> None:
        """Yes, no, or the number that was asked for. Raises `ValueError` when that does not fit what is asked."""
        question = self.question
        if question is None:
            raise ValueError("nothing is asked now")
        wants_number = question.ask is Ask.PASSKEY
        if wants_number and value is not False and (isinstance(value, bool) or not 0 <= value <= PASSKEY_MAX):
            raise ValueError("answer: expected the six digits that the wearable shows")
        if not wants_number and not isinstance(value, bool):
            raise ValueError("answer: expected yes or no")
        if self._asked is None:
            self._tell(Answer(bool(value)))
        elif not self._asked[1].done():
            self._asked[1].set_result(None if wants_number and value is False else value)

    def undo(self) -> None:
        """Take it back; whoever runs it ends it."""
        self._tell(Undo())

    def fail(self, reason: str) -> None:
        self._tell(Failed(reason))

    # ------------------------------------------------------------------ Asker

    async def numbers(self, number: str) -> bool:
        text = f"Does the wearable show {number[:3]} {number[3:]}?"
        return await self._ask(Question(ask=Ask.NUMBERS, text=text, number=number)) is True

    async def passkey(self) -> int | None:
        answer = await self._ask(Question(ask=Ask.PASSKEY, text="Which six digits does the wearable show?"))
        return None if answer is None or isinstance(answer, bool) else answer

    def show(self, number: str) -> None:
        self.shown = number
        self._changed(self.attempt)

    async def _ask(self, question: Question) -> bool | int | None:
        answered: asyncio.Future[bool | int | None] = asyncio.get_running_loop().create_future()
        self._asked = (question, answered)
        self._changed(self.attempt)
        try:
            async with asyncio.timeout(PAIR_S):
                return await answered
        except TimeoutError:
            return None
        finally:
            self._asked = None

    # ------------------------------------------------------------------ the way

    async def run(self, asks: Sequence[Question], free: Callable[[], Awaitable[None]], oob: OutOfBand | None) -> None:
        """From `Choose` to the attempt's end; never raises for what a wearable or a person does.

        `free` is awaited when the questions of before are answered: it lets go of a link that somebody else has.
        """
        try:
            self._tell(Choose(asks=tuple(asks)))
            await self._settled()
            if self.attempt.stage is Stage.BONDING:
                await free()
                await self._bond(oob)
                await self._settled()
            if self.attempt.stage is Stage.DROPPING:
                self._tell(Dropped())
                await self._prove()
        except (BleakError, WearableError, DecodeError, TimeoutError, OSError, EOFError) as error:
            said = getattr(error, "dbus_error", None) or type(error).__name__
            logger.info("pairing failed", extra={"reason": str(said)})
            self._tell(Failed(_words(error)))
        except asyncio.CancelledError:
            self._tell(Failed("it was ended"))
            raise

    def _tell(self, happening: Happening) -> None:
        attempt = step(self.attempt, happening)
        if attempt is not self.attempt:
            self.attempt = attempt
            self._moved.set()
            self._changed(attempt)

    async def _settled(self) -> None:
        """Wait until nothing is asked; an answer that does not come within its time is a no."""
        deadline = asyncio.get_running_loop().time() + ANSWER_S
        while self.attempt.stage is Stage.ASKED:
            self._moved.clear()
            left_s = deadline - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(max(left_s, 0.0)):
                    await self._moved.wait()
            except TimeoutError:
                self._tell(Failed("nobody answered"))

    async def _bond(self, oob: OutOfBand | None) -> None:
        await self._bonding.renew(self.attempt.chosen.address)
        client = await self._reach()
        try:
            try:
                level = await self._bonding.bond(client, self, oob)
            except CannotBond:
                if not client.is_connected:  # many a stack ends the link with the refusal
                    await self._leave(client)
                    client = await self._reach()
                self._tell(Unbonded(await self._identity(client)))
            else:
                self._tell(Bonded(await self._identity(client), level))
        finally:
            await self._leave(client)

    async def _prove(self) -> None:
        client = await self._reach()
        try:
            level = BondLevel.NONE
            if self.attempt.level is not BondLevel.NONE:
                level = await self._bonding.prove(client)
            identity = await self._identity(client)
            charge = await _read(client, battery.LEVEL)
            pct = None if charge is None else float(battery.decode_battery_level(charge).battery_pct)
            live = [word for uuid, word in SIGNALS.items() if client.services.get_characteristic(uuid) is not None]
            spots = any(client.services.get_characteristic(uuid) is not None for uuid in spot.UUIDS)
            if not live and not spots:
                raise WearableError("the wearable has no signal that Bedside can read")
            facts = Facts(identity=identity, battery_pct=pct, level=level, spot=spots and not live, signals=tuple(live))
            self._tell(Proved(facts))
        finally:
            await self._leave(client)

    async def _reach(self) -> BleakClient:
        """A new link to the chosen wearable."""
        for left in reversed(range(CONNECT_TRIES)):
            device = await self._hear()
            client = self._radio.client(device, lambda _: None)
            try:
                async with asyncio.timeout(self._radio.ready_s):
                    await client.connect()
                return client
            except (BleakError, TimeoutError):
                await self._leave(client)
                if not left:
                    raise
        raise AssertionError("unreachable")

    async def _hear(self) -> BLEDevice:
        found: asyncio.Future[BLEDevice] = asyncio.get_running_loop().create_future()
        wanted = self.attempt.chosen.address.upper()

        def heard(device: BLEDevice, _: object) -> None:
            if device.address.upper() == wanted and not found.done():
                found.set_result(device)

        scanner = self._radio.scanner(heard)
        await _within(CALL_S, scanner.start())
        try:
            return await _within(HEAR_S, found)
        except TimeoutError as error:
            raise WearableError("the wearable is not heard any more: hold it near, and keep it switched on") from error
        finally:
            with contextlib.suppress(BleakError, TimeoutError, OSError, EOFError):
                await _within(CALL_S, scanner.stop())

    async def _identity(self, client: BleakClient) -> Identity:
        model = await _read(client, device_information.MODEL)
        serial = await _read(client, device_information.SERIAL)
        return Identity(address=client.address, name=self.attempt.chosen.name, model=_text(model), serial=_text(serial))

    async def _leave(self, client: BleakClient) -> None:
        with contextlib.suppress(BleakError, TimeoutError, OSError, EOFError):
            await _within(CALL_S, client.disconnect())


async def _read(client: BleakClient, uuid: str) -> bytes | None:
    if client.services.get_characteristic(uuid) is None:
        return None
    try:
        return bytes(await _within(CALL_S, client.read_gatt_char(uuid)))
    except BleakError:
        return None


async def _within(limit_s: float, work: Awaitable[T]) -> T:
    async with asyncio.timeout(limit_s):
        return await work


def _text(value: bytes | None) -> str:
    text = (value or b"").decode("utf-8", "replace").strip("\0 ")[:40]
    return text if text.isprintable() else ""


def _words(error: Exception) -> str:
    if isinstance(error, (WearableError, DecodeError)):
        return str(error)
    if isinstance(error, BleakBluetoothNotAvailableError):
        return "this box's Bluetooth is switched off, missing or not allowed"
    if isinstance(error, OSError):
        return "this box's Bluetooth service does not answer: is bluetoothd running?"
    return "the wearable did not answer in time: hold it near, and keep it switched on"
