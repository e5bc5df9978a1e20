"""Over which radio a session finds and reaches its wearable: the box's own, or a virtual one in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice

from bedside.ble.air import Air
from bedside.ble.bluez import BluezBonding
from bedside.ble.bumble_backend import BumbleClient, BumbleScanner, Central
from bedside.ble.pairing_air import AirBonding
from bedside.ble.shared_scan import OnAdvertisement as OnAdvertisement
from bedside.ble.shared_scan import Scanner, SharedScan

OnLost = Callable[[BleakClient], None]


class Radio(Protocol):
    """Makes bleak's scanners and clients. Whoever made the radio closes it, after all sessions on it.

    `connect_s`: how long bleak may try to reach a device; others may have to wait for it. `ready_s`: the most that
    a connection may take with waiting for the radio's turn and discovering services.
    """

    connect_s: float
    ready_s: float

    def scanner(self, heard: OnAdvertisement) -> Scanner:
        """A scanner, not started, that calls `heard` for each advertisement."""
        ...

    def client(self, device: BLEDevice, lost: OnLost) -> BleakClient:
        """A client, not connected, that calls `lost` when its link ends without being asked to."""
        ...

    async def close(self) -> None:
        """Release the radio. Safe to call twice."""
        ...


class SystemRadio:
    """The box's Bluetooth adapter, by bleak's own backend (BlueZ on Linux)."""

    connect_s = 15.0
    ready_s = 45.0

    def __init__(self) -> None:
        self._bonding: BluezBonding | None = None
        self._scan: SharedScan | None = None

    def scanner(self, heard: OnAdvertisement) -> Scanner:
        if self._scan is None:
            self._scan = SharedScan(BleakScanner)
        return self._scan.listener(heard)

    def client(self, device: BLEDevice, lost: OnLost) -> BleakClient:
        return BleakClient(device, lost, timeout=self.connect_s)

    async def close(self) -> None:
        if self._bonding is not None:
            await self._bonding.close()

    @property
    def bonding(self) -> BluezBonding:
        if self._bonding is None:
            self._bonding = BluezBonding()
        return self._bonding


class BumbleRadio:
    """A virtual adapter on `air`, shared by all its sessions. Make it inside the running loop."""

    connect_s = 3.0  # a device that was heard advertises again within half a second, or is gone
    ready_s = 180.0  # it connects one after the other: 200 at once take over a minute

    def __init__(self, air: Air) -> None:
        self._central = Central(air)
        self.bonding = AirBonding(self._central)

    def scanner(self, heard: OnAdvertisement) -> BleakScanner:
        return BleakScanner(heard, backend=BumbleScanner, central=self._central)

    def client(self, device: BLEDevice, lost: OnLost) -> BleakClient:
        return BleakClient(device, lost, timeout=self.connect_s, backend=BumbleClient)

    async def close(self) -> None:
        await self._central.close()
