"""Inside the virtual machine: the air. BlueZ's controller on /dev/vhci, and Bedside's virtual straps beside it.

Reads commands and tells what happens, one JSON line each, so that the scenes drive it from another process:
`{"reach": N, "on": false}`, `{"reset": N}` (it forgets its bonds), `{"leave": N}` (it ends its link);
`{"shows": "123456", "strap": N}`, `{"up": true}`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from typing import Any

import numpy as np
from bumble import hci
from bumble.controller import Controller
from bumble.core import PhysicalTransport
from bumble.transport import open_transport

from bedside.ble.air import Air
from bedside.ble.virtual.security import Security, Way
from bedside.ble.virtual.wearable import VirtualWearable
from bedside.core.physiology import RadioState, ScriptLine
from bedside.core.samples import Counts

WAYS = (Way.JUST_WORKS, Way.NUMBERS, Way.PASSKEY, Way.NONE)
RATE_HZ = 130.0
BEAT_S = 0.8


class PlainBody:
    """A heart at 75 /min, drawn from bumps: enough for a stream whose samples can be counted."""

    name = "Plain"
    simulated = True
    lead = "II"
    ecg_rate_hz = RATE_HZ

    def ecg_uv(self, first_index: int, n_samples: int) -> Counts:
        phase = (np.arange(first_index, first_index + n_samples) / RATE_HZ) % BEAT_S
        wave = 1000.0 * np.exp(-(((phase - 0.3) / 0.012) ** 2)) + 150.0 * np.exp(-(((phase - 0.55) / 0.05) ** 2))
        counts: Counts = np.rint(wave).astype(np.int32)
        return counts

    def beats_s(self, start_s: float, end_s: float) -> tuple[float, ...]:
        first = max(0, int(start_s / BEAT_S) - 1)
        times = (BEAT_S * number + 0.3 for number in range(first, int(end_s / BEAT_S) + 2))
        return tuple(at_s for at_s in times if start_s <= at_s < end_s)

    def contact(self, at_s: float) -> bool:
        return True

    def spo2_pct(self, at_s: float) -> float | None:
        return None

    def pulse_bpm(self, at_s: float) -> float | None:
        return None

    def pressure_mmhg(self, at_s: float) -> tuple[float, float] | None:
        return None

    def battery_pct(self, at_s: float) -> float:
        return 82.0

    def radio(self, at_s: float) -> RadioState:
        return RadioState()

    def script(self) -> tuple[ScriptLine, ...]:
        return ()


class BoxController(Controller):
    """BlueZ's controller. Linux scans and connects under two addresses; a link begins under the one that was set when
    it was asked for (Core 4.E 7.8.12), which bumble 0.0.236 looks up only when the strap is heard."""

    _asked_under = hci.Address("00:00:00:00:00:00")

    def on_hci_le_create_connection_command(self, command: hci.HCI_LE_Create_Connection_Command) -> Any:
        self._asked_under = self.random_address
        return super().on_hci_le_create_connection_command(command)

    def create_le_connection(self, peer_address: hci.Address) -> None:
        present, self._random_address = self._random_address, self._asked_under
        try:
            super().create_le_connection(peer_address)
        finally:
            self._random_address = present


class MixedAir(Air):
    """The air with a host that changes its address between scanning and connecting, as Linux does.

    A link keeps the address with which it was made, so packets go by that, not by the controller's present one.
    """

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        receiver = self.find_le_controller(destination_address)
        link = sender_controller.le_connections.get(destination_address)
        if receiver is None or link is None or self._gone(receiver, sender_controller, link.self_address):
            return
        asyncio.get_running_loop().call_soon(receiver.on_link_acl_data, link.self_address, transport, data)

    def _gone(self, receiver: Controller, sender: Controller, address: hci.Address) -> bool:
        if not (self.reachable(receiver) and self.reachable(sender)):
            return True
        return id(receiver.le_connections.get(address)) in self._fading


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def _shown(strap: int, number: str) -> None:
    tell(shows=number, strap=strap)


async def main() -> None:
    air = MixedAir(supervision_s=4.0)
    transport = await open_transport("vhci")
    box = BoxController("BlueZ", host_source=transport.source, host_sink=transport.sink, link=air)
    box.le_features &= ~(hci.LeFeatureMask.LL_PRIVACY | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING)
    straps, security = [], []
    for number, way in enumerate(WAYS):
        strap = VirtualWearable(PlainBody(), air, name=f"Strap {number}", address=f"F0:F1:F2:F3:F4:{number:02X}")
        security.append(Security(strap.device, way, shows=partial(_shown, number)))
        straps.append(strap)
        await strap.start()
    tell(up=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if "reach" in order:
            straps[order["reach"]].set_reachable(order["on"])
        if "reset" in order:
            security[order["reset"]].reset()
        if "leave" in order:
            for link in list(straps[order["leave"]].device.connections.values()):
                await link.disconnect()
        tell(done=order)


if __name__ == "__main__":
    asyncio.run(main())
