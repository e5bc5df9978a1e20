"""How a virtual wearable pairs: not at all, just works, by a number that is compared, or by one that it shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum

from bumble import hci
from bumble.device import Connection, Device
from bumble.keys import MemoryKeyStore, PairingKeys
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.smp import OobContext

from bedside.ble.bonding import OutOfBand


class Way(StrEnum):
    """The way in which a wearable can be paired."""

    NONE = "none"
    JUST_WORKS = "just works"
    NUMBERS = "numbers"  # it shows a number and has a button for yes
    PASSKEY = "passkey"  # it shows a number
    OOB = "oob"  # its data came by another way, such as NFC


_CAPABILITY = {
    Way.NUMBERS: PairingDelegate.IoCapability.DISPLAY_OUTPUT_AND_YES_NO_INPUT,
    Way.PASSKEY: PairingDelegate.IoCapability.DISPLAY_OUTPUT_ONLY,
}


class Security(PairingDelegate):
    """The security of one virtual wearable; its bonds are forgotten by `reset`."""

    def __init__(self, device: Device, way: Way, *, shows: Callable[[str], None] = lambda _: None) -> None:
        """`shows` is told the number on the wearable's display."""
        super().__init__(_CAPABILITY.get(way, PairingDelegate.IoCapability.NO_OUTPUT_NO_INPUT))
        self._way = way
        self._shows = shows
        self._device = device
        self._oob = OobContext() if way is Way.OOB else None
        device.pairing_config_factory = self._config
        self.reset()

    def reset(self) -> None:
        """Fault: the wearable forgets all bonds, as after a factory reset or a new battery in some."""
        self._device.keystore = MemoryKeyStore()

    async def remember(self, central: str, keys: dict[str, str]) -> None:
        """Take up the bond that was made with this central before; `keys` as the box's own stack exports them."""
        store = self._device.keystore
        if store is not None and keys.get("stack") == "bumble":
            await store.update(str(hci.Address(central)), PairingKeys.from_dict(json.loads(keys["keys"])))

    def out_of_band(self) -> OutOfBand:
        """What its NFC tag would say. Raises `ValueError` for a wearable that has none."""
        if self._oob is None:
            raise ValueError("way: this wearable has no out-of-band data")
        shared = self._oob.share()
        return OutOfBand(confirm=shared.c, random=shared.r)

    def _config(self, _: Connection) -> PairingConfig:
        oob = PairingConfig.OobConfig(our_context=self._oob, peer_data=None, legacy_context=None) if self._oob else None
        mitm = self._way in (Way.NUMBERS, Way.PASSKEY, Way.OOB)
        return PairingConfig(sc=True, mitm=mitm, bonding=True, delegate=self, oob=oob)

    async def accept(self) -> bool:
        return self._way is not Way.NONE

    async def compare_numbers(self, number: int, digits: int) -> bool:
        self._shows(f"{number:0{digits}d}")
        return True

    async def display_number(self, number: int, digits: int) -> None:
        self._shows(f"{number:0{digits}d}")
