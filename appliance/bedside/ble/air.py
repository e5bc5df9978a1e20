"""The virtual radio: bumble controllers joined in one process, with a range that a scenario can take away.

Every device has a whole Bluetooth stack of its own (GATT, ATT, L2CAP, HCI, a controller); only the radio between
the controllers is replaced. What differs from bumble's own `LocalLink`, and why:

- controllers are kept in order and found by address, so that two runs are alike and 200 devices stay cheap;
- an unreachable device says nothing and hears nothing, and its connections end on *both* sides after the
  supervision time-out, as on a real radio; until then each side believes that the link is up;
- advertising reaches only those who listen;
- nothing formats packets for logs that nobody reads: that was most of the time a notification cost.

Time is the event loop's, so it runs as well on virtual time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from bumble import hci, ll
from bumble.controller import Connection as LinkConnection
from bumble.controller import Controller
from bumble.core import PhysicalTransport
from bumble.device import Device, DeviceConfiguration
from bumble.host import Host
from bumble.link import LocalLink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger(__name__)

SUPERVISION_S = 2.0
"""How long a link lives after the last packet: 2 s is what phones and BlueZ use by default or near it."""

ACL_BYTES = 521
"""HCI data packet size: the largest ATT MTU (517) and its L2CAP header (4), so that one notification is one packet."""


class _Pipe:
    """Hands packets on in a later turn of the loop.

    They wait here and not as arguments of the loop's callbacks, because asyncio prints those when a callback fails,
    and what wearables send is nobody's to read in a log.
    """

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        self._deliver = deliver
        self._packets: deque[bytes] = deque()

    def on_packet(self, packet: bytes) -> None:
        self._packets.append(packet)
        asyncio.get_running_loop().call_soon(self._hand_on)

    def _hand_on(self) -> None:
        self._deliver(self._packets.popleft())


class Air(LocalLink):
    """What carries packets between the virtual devices of one process. Make it inside a running event loop."""

    def __init__(self, *, supervision_s: float = SUPERVISION_S) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.supervision_s = supervision_s
        self._members: dict[Controller, None] = {}  # a dict, not a set: it keeps the order of arrival
        self._by_address: dict[hci.Address, Controller] = {}
        self._unreachable: set[Controller] = set()
        self._on_air: deque[tuple[Controller, hci.Address, PhysicalTransport, bytes]] = deque()
        self._fading: dict[int, tuple[LinkConnection, asyncio.TimerHandle]] = {}  # by id: they have no hash

    def add_controller(self, controller: Controller) -> None:
        self._members[controller] = None

    def remove_controller(self, controller: Controller) -> None:
        """Take a device out for good; whoever is connected to it sees its link end by supervision time-out."""
        self.set_reachable(controller, False)
        self._members.pop(controller, None)
        for address in [address for address, member in self._by_address.items() if member is controller]:
            del self._by_address[address]

    def on_address_changed(self, controller: Controller) -> None:
        self._by_address[controller.random_address] = controller

    def find_le_controller(self, address: hci.Address) -> Controller | None:
        return self._by_address.get(address)

    def reachable(self, controller: Controller) -> bool:
        return controller in self._members and controller not in self._unreachable

    def set_reachable(self, controller: Controller, reachable: bool) -> None:
        """Bring a device into range, or take it out; out of range its links fade and are not revived."""
        if reachable:
            self._unreachable.discard(controller)
            return
        if controller in self._unreachable:
            return
        self._unreachable.add(controller)
        for connection in list(controller.le_connections.values()):
            self._fade(controller, connection)
            peer = self.find_le_controller(connection.peer_address)
            if peer is not None and (other := peer.le_connections.get(connection.self_address)) is not None:
                self._fade(peer, other)

    def _fade(self, controller: Controller, connection: LinkConnection) -> None:
        def end() -> None:
            self._fading.pop(id(connection), None)
            if controller.le_connections.get(connection.peer_address) is connection:
                controller.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

        if id(connection) not in self._fading:
            timer = asyncio.get_running_loop().call_later(self.supervision_s, end)
            self._fading[id(connection)] = (connection, timer)

    def close(self) -> None:
        """Forget the timers of fading links. Safe to call twice."""
        for _, timer in self._fading.values():
            timer.cancel()
        self._fading.clear()

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        receiver = self._by_address.get(destination_address)
        if receiver is None or self._broken(sender_controller, receiver):
            return
        self._on_air.append((receiver, sender_controller.random_address, transport, data))
        asyncio.get_running_loop().call_soon(self._arrive)

    def _arrive(self) -> None:
        receiver, sender_address, transport, data = self._on_air.popleft()
        receiver.on_link_acl_data(sender_address, transport, data)

    def _broken(self, sender: Controller, receiver: Controller) -> bool:
        if sender in self._unreachable or receiver in self._unreachable:
            return True
        return bool(self._fading) and id(receiver.le_connections.get(sender.random_address)) in self._fading

    def send_advertising_pdu(self, sender_controller: Controller, packet: ll.AdvertisingPdu) -> None:
        if not self.reachable(sender_controller):
            return
        loop = asyncio.get_running_loop()
        for receiver in self._listeners(packet):
            if receiver is not sender_controller and self.reachable(receiver):
                loop.call_soon(receiver.on_ll_advertising_pdu, packet)

    def _listeners(self, packet: ll.AdvertisingPdu) -> Iterable[Controller]:
        if isinstance(packet, ll.ConnectInd):
            receiver = self._by_address.get(packet.advertiser_address)
            return () if receiver is None else (receiver,)
        return [member for member in self._members if member.le_scan_enable or member.pending_le_connection]

    def send_ll_control_pdu(
        self, sender_address: hci.Address, receiver_address: hci.Address, packet: ll.ControlPdu
    ) -> None:
        sender = self._by_address.get(sender_address)
        receiver = self._by_address.get(receiver_address)
        if sender is None or receiver is None or self._broken(sender, receiver):
            return
        if sender_address not in receiver.le_connections:
            return  # the other side has ended the link in the meantime
        asyncio.get_running_loop().call_soon(self._deliver_control, receiver, sender_address, packet)

    @staticmethod
    def _deliver_control(receiver: Controller, sender_address: hci.Address, packet: ll.ControlPdu) -> None:
        if sender_address in receiver.le_connections:
            receiver.on_ll_control_pdu(sender_address, packet)


class QuietController(Controller):
    """A controller that formats no packet for the log, and speaks legacy advertising.

    Extended advertising and address privacy are masked: with them bumble 0.0.236 learns a peripheral's own address
    only from a second event, and resolves addresses that are fixed here.
    """

    le_features = Controller.le_features & ~(
        hci.LeFeatureMask.LL_PRIVACY
        | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
        | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING
    )
    le_acl_data_packet_length = ACL_BYTES

    def on_hci_packet(self, packet: hci.HCI_Packet) -> None:
        if isinstance(packet, hci.HCI_AclDataPacket):
            connection = self.find_le_connection_by_handle(packet.connection_handle)
            if connection is not None:
                connection.on_hci_acl_data_packet(packet)
        elif isinstance(packet, hci.HCI_Command):
            self.on_hci_command_packet(packet)

    to_host: _Pipe

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        self.to_host.on_packet(bytes(packet))

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Core 7.8.13: the pending connection ends with an error. bumble 0.0.236 forgets to, and its host waits."""
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is not None:
            self.send_hci_packet(
                hci.HCI_LE_Connection_Complete_Event(
                    status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                    connection_handle=0,
                    role=hci.Role.CENTRAL,
                    peer_address_type=pending.peer_address.address_type,
                    peer_address=pending.peer_address,
                    connection_interval=0,
                    peripheral_latency=0,
                    supervision_timeout=0,
                    central_clock_accuracy=0,
                )
            )
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_link_acl_data(self, sender_address: hci.Address, transport: PhysicalTransport, data: bytes) -> None:
        if sender_address in self.le_connections:  # a packet may arrive after the end of its link
            super().on_link_acl_data(sender_address, transport, data)


class QuietHost(Host):
    """A host that formats no packet for the log, and whose commands are not cut off from their answers.

    In bumble a cancelled command leaves its answer to be taken for the next command's; here the command runs to its
    end although nobody waits for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._commands: set[asyncio.Task[Any]] = set()

    async def _send_command(
        self,
        command: hci.HCI_SyncCommand[Any] | hci.HCI_AsyncCommand,
        response_timeout: float | None = None,
    ) -> hci.HCI_Command_Complete_Event[Any] | hci.HCI_Command_Status_Event:
        task = asyncio.create_task(super()._send_command(command, response_timeout))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        return await asyncio.shield(task)

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        if self.hci_sink is not None:
            self.hci_sink.on_packet(bytes(packet))

    def on_hci_packet(self, packet: hci.HCI_Packet) -> None:
        if isinstance(packet, hci.HCI_AclDataPacket):
            connection = self.connections.get(packet.connection_handle)
            if connection is not None:
                connection.on_hci_acl_data_packet(packet)
        elif isinstance(packet, hci.HCI_Event):
            self.on_hci_event_packet(packet)


def make_device(air: Air, *, name: str, address: str) -> tuple[Device, QuietController]:
    """A device and its controller on `air`; `address` is a random static one ("C0:00:…"). Power it on to use it."""
    controller = QuietController(name, link=air)
    host = QuietHost()
    host.set_packet_source(controller)
    controller.to_host = _Pipe(host.on_packet)
    host.set_packet_sink(_Pipe(controller.on_packet))
    config = DeviceConfiguration(name=name, address=hci.Address(address), gap_service_enabled=True)
    return Device(config=config, host=host), controller
