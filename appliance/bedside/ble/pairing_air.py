"""Bonds over bumble: a real Security Manager (Core 3.H) on both sides, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

from bleak import BleakClient
from bleak.exc import BleakError
from bumble import core, hci
from bumble.device import Connection
from bumble.keys import KeyStore, MemoryKeyStore, PairingKeys
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.smp import OobContext, OobSharedData

from bedside.ble.bonding import ENCRYPT_S, PAIR_S, Asker, CannotBond, Nobody, OutOfBand
from bedside.ble.bumble_backend import Central
from bedside.ble.pairing import BondLevel
from bedside.core.errors import WearableError

logger = logging.getLogger(__name__)


class _Delegate(PairingDelegate):
    """Hands bumble's questions to whoever pairs now, and remembers that something was asked."""

    def __init__(self, asker: Asker) -> None:
        super().__init__(PairingDelegate.IoCapability.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT)
        self._asker = asker
        self.asked = False

    async def compare_numbers(self, number: int, digits: int) -> bool:
        self.asked = True
        return await self._asker.numbers(f"{number:0{digits}d}")

    async def get_number(self) -> int | None:
        self.asked = True
        return await self._asker.passkey()

    async def display_number(self, number: int, digits: int) -> None:
        self.asked = True
        self._asker.show(f"{number:0{digits}d}")

    async def confirm(self, auto: bool = False) -> bool:
        return not isinstance(self._asker, Nobody)


class _Bonds(MemoryKeyStore):
    """Addresses are fixed here and none is resolved: bumble would scan for one that it knows, beside our own scan, and
    wait for ever when ours ends."""

    async def get_resolving_keys(self) -> list[tuple[bytes, hci.Address]]:
        return []


class AirBonding:
    """The bonds of the virtual adapter. Made inside the running loop, before the first link."""

    def __init__(self, central: Central) -> None:
        self._central = central
        self._delegate = _Delegate(Nobody())
        self._oob: PairingConfig.OobConfig | None = None
        central.device.keystore = _Bonds()
        central.device.pairing_config_factory = self._config

    def _config(self, _: Connection) -> PairingConfig:
        return PairingConfig(sc=True, mitm=True, bonding=True, delegate=self._delegate, oob=self._oob)

    async def bond(self, client: BleakClient, asker: Asker, oob: OutOfBand | None = None) -> BondLevel:
        address = client.address
        if await self._keys(address) is not None:
            try:
                return await self.prove(client)
            except WearableError:
                await self.forget(address)  # it was reset since: made anew, with whatever it asks
                if not client.is_connected:
                    raise
        self._delegate = _Delegate(asker)
        if oob is not None:
            data = OobSharedData(c=oob.confirm, r=oob.random)
            self._oob = PairingConfig.OobConfig(our_context=OobContext(), peer_data=data, legacy_context=None)
        try:
            async with asyncio.timeout(PAIR_S):
                await client.pair()
        except (BleakError, TimeoutError) as error:
            if isinstance(error, BleakError) and not self._delegate.asked and oob is None:
                raise CannotBond("the wearable makes no bond") from error
            raise WearableError("no bond was made: the number was wrong, or the wearable went away") from error
        finally:
            self._delegate, self._oob = _Delegate(Nobody()), None
        level = await self._level(address)
        if level is BondLevel.NONE:
            raise CannotBond("the wearable keeps no bond")
        return level

    async def prove(self, client: BleakClient) -> BondLevel:
        connection = self._connection(client.address)
        if connection is None:
            raise WearableError("the link is gone")
        work = asyncio.ensure_future(connection.encrypt())
        await asyncio.wait((work,), timeout=ENCRYPT_S)
        if not work.done():
            work.cancel()
            raise WearableError("the wearable did not answer when its bond was asked for")
        if work.cancelled():
            raise WearableError("the link ended when its bond was asked for")
        error = work.exception()
        if isinstance(error, (core.BaseBumbleError, hci.HCI_Error)):
            raise WearableError("what answered does not hold the bond of this wearable") from error
        if error is not None:
            raise error
        return await self._level(client.address)

    async def renew(self, address: str) -> None:
        return  # `bond` finds out on the link itself whether the old one still serves

    async def keys(self, address: str) -> dict[str, str]:
        found = await self._keys(address)
        return {} if found is None else {"stack": "bumble", "keys": json.dumps(found.to_dict())}

    async def put_keys(self, address: str, keys: dict[str, str]) -> bool:
        if keys.get("stack") != "bumble":
            return False
        await self._store().update(_peer(address), PairingKeys.from_dict(json.loads(keys["keys"])))
        return True

    async def forget(self, address: str) -> None:
        with contextlib.suppress(KeyError):
            await self._store().delete(_peer(address))

    def _store(self) -> KeyStore:
        store = self._central.device.keystore
        assert store is not None
        return store

    async def _keys(self, address: str) -> PairingKeys | None:
        return await self._store().get(_peer(address))

    async def _level(self, address: str) -> BondLevel:
        keys = await self._keys(address)
        key: Any = None if keys is None else keys.ltk or keys.ltk_central
        if key is None:
            return BondLevel.NONE
        return BondLevel.AUTHENTICATED if key.authenticated else BondLevel.UNAUTHENTICATED

    def _connection(self, address: str) -> Connection | None:
        wanted = hci.Address(address)
        return next((one for one in self._central.device.connections.values() if one.peer_address == wanted), None)


def _peer(address: str) -> str:
    return str(hci.Address(address))
