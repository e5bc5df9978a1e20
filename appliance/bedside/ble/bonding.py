"""What pairing asks of a Bluetooth stack, whichever it is: make a bond, prove it, hand its keys over, forget it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bleak import BleakClient

from bedside.ble.pairing import BondLevel
from bedside.core.errors import WearableError

PAIR_S = 90.0  # somebody has to read a number and type it
ENCRYPT_S = 10.0


class CannotBond(WearableError):
    """The wearable makes no bond, and nobody was asked for a number: it has no security of its own."""


class Asker(Protocol):
    """Who is asked while a bond is made. A stack asks at most one thing at a time."""

    async def numbers(self, number: str) -> bool:
        """Does the wearable show this number (six digits)?"""
        ...

    async def passkey(self) -> int | None:
        """The number that the wearable shows; None: nobody says."""
        ...

    def show(self, number: str) -> None:
        """Somebody must type this number on the wearable."""
        ...


class Nobody:
    """Nobody is there to answer: a stack that asks all the same is refused."""

    async def numbers(self, number: str) -> bool:
        return False

    async def passkey(self) -> int | None:
        return None

    def show(self, number: str) -> None:
        return


@dataclass(frozen=True, slots=True)
class OutOfBand:
    """LE Secure Connections data that came by another way than the radio (Core 3.H 2.3.5.6.4): 16 bytes each."""

    confirm: bytes
    random: bytes


class Bonding(Protocol):
    """The bonds of one radio."""

    async def bond(self, client: BleakClient, asker: Asker, oob: OutOfBand | None = None) -> BondLevel:
        """Make a bond on this link, or use the one there is.

        Raises `CannotBond`, and `WearableError` (a wrong number, a link that ended, too slow).
        """
        ...

    async def prove(self, client: BleakClient) -> BondLevel:
        """Encrypt this fresh link with the bond alone. Raises `WearableError` when the other side does not hold it."""
        ...

    async def renew(self, address: str) -> None:
        """Before a wearable is paired again: away with a bond of ours that it may not hold any more."""
        ...

    async def keys(self, address: str) -> dict[str, str]:
        """The bond with this wearable, to be kept and exported; empty where the stack does not give it."""
        ...

    async def put_keys(self, address: str, keys: dict[str, str]) -> bool:
        """Take over a bond. False: this stack cannot, and the wearable must be paired anew."""
        ...

    async def forget(self, address: str) -> None:
        """Forget the bond. No error when there is none."""
        ...
