"""Bonds through BlueZ: pair with our own agent, know whether a device is bonded, forget it.

BlueZ keeps the keys itself (`/var/lib/bluetooth`, root's) and encrypts each new link to a bonded device before any
attribute is read (its ATT socket then asks for security level medium), so a link to a bonded device whose services
could be resolved *is* proof that the other side holds the key; one that does not is dropped by the kernel. Where this
process may read that folder, the bond goes into an export; it serves on a box whose adapter has the same address (a
dongle that moved along), else the wearable is paired anew. BlueZ's D-Bus offers no out-of-band data for LE.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

from bleak import BleakClient
from bleak.exc import BleakDBusError, BleakError
from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError

from bedside.ble.agent import CAPABILITY, PATH, Agent
from bedside.ble.bonding import PAIR_S, Asker, CannotBond, OutOfBand
from bedside.ble.pairing import BondLevel
from bedside.core.errors import WearableError

logger = logging.getLogger(__name__)

BLUEZ = "org.bluez"
CALL_S = 5.0
SETTLE_S = 2.0
KEYS_FOLDER = Path("/var/lib/bluetooth")
REFUSED = ("org.bluez.Error.AuthenticationFailed", "org.bluez.Error.AuthenticationRejected")


class BluezBonding:
    """The bonds of the box's own adapters. Connects to the system bus when it is first needed."""

    def __init__(self, keys_folder: Path = KEYS_FOLDER) -> None:
        self._keys_folder = keys_folder
        self._bus: MessageBus | None = None
        self._levels: dict[str, BondLevel] = {}

    async def close(self) -> None:
        """Let go of the bus. Safe to call twice."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.disconnect()

    async def bond(self, client: BleakClient, asker: Asker, oob: OutOfBand | None = None) -> BondLevel:
        if oob is not None:
            raise WearableError("BlueZ takes no out-of-band data for LE: compare or type the number instead")
        bus = await self._connected()
        device = await self._path(client.address)
        if device is None:
            raise WearableError("the wearable is not known to BlueZ any more")
        owner = await self._owner()
        agent = Agent(bus, owner, device, asker)
        bus.add_message_handler(agent.handle)
        try:
            await self._call("/org/bluez", "org.bluez.AgentManager1", "RegisterAgent", "os", [PATH, CAPABILITY])
            await self._call("/org/bluez", "org.bluez.AgentManager1", "RequestDefaultAgent", "o", [PATH])
            await self._pair(client, agent)
        finally:
            with contextlib.suppress(WearableError):
                await self._call("/org/bluez", "org.bluez.AgentManager1", "UnregisterAgent", "o", [PATH])
            bus.remove_message_handler(agent.handle)
            agent.close()
        if not await self._bonded(client.address):
            raise CannotBond("the wearable keeps no bond")
        level = BondLevel.AUTHENTICATED if agent.asked else BondLevel.UNAUTHENTICATED
        self._levels[client.address.upper()] = level
        return level

    async def _pair(self, client: BleakClient, agent: Agent) -> None:
        try:
            async with asyncio.timeout(PAIR_S):
                await client.pair()
        except BleakDBusError as error:
            if error.dbus_error in REFUSED and not agent.asked:
                raise CannotBond("the wearable makes no bond") from error
            raise WearableError("no bond was made: the number was wrong, or the wearable went away") from error
        except (BleakError, TimeoutError, EOFError) as error:
            raise WearableError("no bond was made: the wearable went away, or nobody answered in time") from error

    async def prove(self, client: BleakClient) -> BondLevel:
        async with asyncio.timeout(CALL_S):
            if not client.is_connected or not await self._bonded(client.address):
                raise WearableError("what answered does not hold the bond of this wearable")
        return self._levels.get(client.address.upper(), BondLevel.UNAUTHENTICATED)

    async def renew(self, address: str) -> None:
        if await self._bonded(address):
            await self.forget(address)
            await asyncio.sleep(SETTLE_S)

    async def keys(self, address: str) -> dict[str, str]:
        files = [path for path in self._files(address) if path.name == "info"]
        if not files:
            return {}
        return {"stack": "bluez", "adapter": files[0].parent.parent.name, "info": files[0].read_text("utf-8")}

    async def put_keys(self, address: str, keys: dict[str, str]) -> bool:
        """Serves after bluetoothd's next start, and only beside the adapter with which the bond was made."""
        adapter = self._keys_folder / keys.get("adapter", "?")
        if keys.get("stack") != "bluez" or adapter.parent != self._keys_folder:
            return False
        try:
            if not adapter.is_dir():
                return False
            folder = adapter / address.upper()
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / "info").write_text(keys["info"], "utf-8")
        except OSError:
            return False
        return True

    def _files(self, address: str) -> list[Path]:
        try:
            return sorted(self._keys_folder.glob(f"*/{address.upper()}/info"))
        except OSError:  # it is root's; then BlueZ alone has the keys
            return []

    async def forget(self, address: str) -> None:
        self._levels.pop(address.upper(), None)
        path = await self._path(address)
        if path is not None:
            adapter = path.rpartition("/")[0]
            with contextlib.suppress(WearableError):
                await self._call(adapter, "org.bluez.Adapter1", "RemoveDevice", "o", [path])

    # ------------------------------------------------------------------ D-Bus

    async def _connected(self) -> MessageBus:
        if self._bus is None or not self._bus.connected:
            try:
                self._bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
            except (OSError, DBusError, EOFError) as error:
                raise WearableError("this box's Bluetooth service cannot be reached: is D-Bus running?") from error
        return self._bus

    async def _call(
        self, path: str, interface: str, member: str, signature: str = "", body: list[Any] | None = None,
        destination: str = BLUEZ,
    ) -> list[Any]:  # fmt: skip
        bus = await self._connected()
        message = Message(
            destination=destination, path=path, interface=interface, member=member, signature=signature,
            body=body or [],
        )  # fmt: skip
        try:
            async with asyncio.timeout(CALL_S):
                reply = await bus.call(message)
        except (TimeoutError, OSError, EOFError, DBusError) as error:
            raise WearableError("this box's Bluetooth service does not answer: is bluetoothd running?") from error
        if reply is None or reply.message_type is MessageType.ERROR:
            name = reply.error_name if reply is not None else "no reply"
            raise WearableError(f"BlueZ refused {member}: {name}")
        return list(reply.body)

    async def _owner(self) -> str:
        bus_name = "org.freedesktop.DBus"
        body = await self._call("/org/freedesktop/DBus", bus_name, "GetNameOwner", "s", [BLUEZ], bus_name)
        return str(body[0])

    async def _devices(self) -> dict[str, dict[str, Any]]:
        """Path to properties of every device that BlueZ knows."""
        (objects,) = await self._call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        return {
            path: {name: value.value for name, value in interfaces["org.bluez.Device1"].items()}
            for path, interfaces in objects.items()
            if "org.bluez.Device1" in interfaces
        }

    async def _path(self, address: str) -> str | None:
        devices = await self._devices()
        return next((path for path, one in devices.items() if str(one.get("Address")).upper() == address.upper()), None)

    async def _bonded(self, address: str) -> bool:
        devices = await self._devices()
        return any(
            one.get("Address", "").upper() == address.upper() and one.get("Bonded", one.get("Paired", False))
            for one in devices.values()
        )
