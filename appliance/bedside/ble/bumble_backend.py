"""A bleak backend over bumble: `BleakClient(…, backend=BumbleClient)` and `BleakScanner(…, backend=BumbleScanner)`.

So discovery, connection, subscription, notification and disconnection run through bleak's own client and scanner,
as with a real strap; below them is a whole Bluetooth stack in this process (`air`) instead of BlueZ.

Traps of bumble that this module closes: a connection that ends cancels the future of a pending request, which looks
to the caller like being cancelled itself; only one connection can be under way at a time; the subscribers of a
characteristic are a set, which has no order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError, BleakGATTProtocolError
from bleak.uuids import normalize_uuid_str
from bumble import att, core, gatt_client, hci
from bumble.device import Advertisement, Connection

from bedside.ble.air import Air, make_device

T = TypeVar("T")

ATT_MTU = 517
CENTRAL_ADDRESS = "C0:00:00:00:00:00"
CCCD = "00002902-0000-1000-8000-00805f9b34fb"


class Central:
    """The gateway's own radio on `air`: one bumble device, shared by all scanners and clients."""

    def __init__(self, air: Air, address: str = CENTRAL_ADDRESS) -> None:
        self.device, self.controller = make_device(air, name="Bedside", address=address)
        self._air = air
        self._connecting = asyncio.Lock()
        self._attempt: asyncio.Task[Connection] | None = None  # the one that holds the lock
        self._powering = asyncio.Lock()
        self._scanners: dict[BumbleScanner, None] = {}
        self.device.on(self.device.EVENT_ADVERTISEMENT, self._on_advertisement)

    async def power_on(self) -> None:
        """Start the stack, once."""
        await _uncut(self._power_on())

    async def _power_on(self) -> None:
        async with self._powering:
            if not self.device.powered_on:
                await self.device.power_on()

    async def add_scanner(self, scanner: BumbleScanner) -> None:
        """Hear advertisements for `scanner` too. Raises `BleakError` when the radio refuses."""
        await self.power_on()
        self._scanners[scanner] = None
        try:
            await self._settle_scanning()
        except BleakError:
            self._scanners.pop(scanner, None)
            raise

    async def remove_scanner(self, scanner: BumbleScanner) -> None:
        self._scanners.pop(scanner, None)
        await self._settle_scanning()

    async def _settle_scanning(self) -> None:
        await _uncut(self._settle())

    async def _settle(self) -> None:
        """Scan if anybody listens, else do not."""
        try:
            async with self._powering:
                if self._scanners and not self.device.is_scanning:
                    await self.device.start_scanning(active=True, filter_duplicates=False)
                elif not self._scanners and self.device.is_scanning:
                    await self.device.stop_scanning()
        except (core.BaseBumbleError, hci.HCI_Error) as error:
            raise BleakError(f"the radio refuses to change its scan: {error}") from error

    async def connect(self, address: str, timeout_s: float) -> Connection:
        """A link to `address`. Raises `core.TimeoutError` when it is not heard within `timeout_s`."""
        await self.power_on()
        attempt = asyncio.create_task(self._connect(hci.Address(address), timeout_s))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            await self._abandon(attempt)
            raise

    async def _connect(self, address: hci.Address, timeout_s: float) -> Connection:
        async with self._connecting:
            self._attempt = asyncio.current_task()
            try:
                return await self.device.connect_le(address, timeout=timeout_s)
            finally:
                self._attempt = None

    async def _abandon(self, attempt: asyncio.Task[Connection]) -> None:
        """End an attempt that nobody waits for: bumble's own is not cancelled, it would leave the controller busy."""
        if attempt is self._attempt:
            with contextlib.suppress(hci.HCI_Error):
                await self.device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
        else:
            attempt.cancel()
        await asyncio.wait((attempt,))
        if not attempt.cancelled() and attempt.exception() is None:
            with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error):
                await attempt.result().disconnect()

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        heard = _advertisement_data(advertisement)  # once for all scanners
        address = advertisement.address.to_string(with_type_qualifier=False)
        for scanner in list(self._scanners):
            scanner.on_advertisement(address, heard)

    async def close(self) -> None:
        """Take the radio off the air. Safe to call twice."""
        self._scanners.clear()
        if self.device.powered_on:
            await self.device.power_off()
        self._air.remove_controller(self.controller)


class BumbleScanner(BaseBleakScanner):
    """`BleakScanner(callback, backend=BumbleScanner, central=central)`."""

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str,
        *,
        central: Central,
        **kwargs: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._central = central

    async def start(self) -> None:
        self.seen_devices = {}
        await self._central.add_scanner(self)

    async def stop(self) -> None:
        await self._central.remove_scanner(self)

    def on_advertisement(self, address: str, heard: AdvertisementData) -> None:
        """Called by the central for each advertisement that it hears."""
        if self.is_allowed_uuid(heard.service_uuids):
            device = self.create_or_update_device(address, address, heard.local_name, self._central, heard)
            self.call_detection_callbacks(device, heard)


async def _uncut(work: Coroutine[Any, Any, None]) -> None:
    """Wait for `work`; a caller that gives up does not leave the radio with a command half done."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, and told to nobody
        raise


def _advertisement_data(advertisement: Advertisement) -> AdvertisementData:
    data = advertisement.data
    name = data.get(core.AdvertisingData.COMPLETE_LOCAL_NAME) or data.get(core.AdvertisingData.SHORTENED_LOCAL_NAME)
    uuids: list[str] = []
    for kind in (
        core.AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
        core.AdvertisingData.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
        core.AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
        core.AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
    ):
        found = data.get(kind)
        if isinstance(found, list):
            uuids += [_uuid_str(uuid) for uuid in found if isinstance(uuid, core.UUID)]
    return AdvertisementData(
        local_name=name if isinstance(name, str) else None,
        manufacturer_data={},
        service_data={},
        service_uuids=uuids,
        tx_power=None,
        rssi=advertisement.rssi,
        platform_data=(advertisement,),
    )


class _Client(gatt_client.Client):
    """bumble's GATT client, with notifications handed over without being formatted for the log.

    A request that nobody waits for any more still takes its answer: in bumble it would be left for nobody, or for
    the next request. It ends at the latest with the link.
    """

    def __init__(self, bearer: att.Bearer) -> None:
        super().__init__(bearer)
        self._requests: set[asyncio.Task[Any]] = set()

    async def send_request(self, request: att.ATT_PDU) -> Any:
        task = asyncio.create_task(super().send_request(request))
        self._requests.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._requests.discard(task)
        if not task.cancelled():
            task.exception()  # a request on a link that ended as it began times out when nobody waits for it any more

    def on_disconnection(self, *args: Any) -> None:
        super().on_disconnection(*args)
        for task in tuple(self._requests):
            task.cancel()

    def on_gatt_pdu(self, att_pdu: att.ATT_PDU) -> None:
        if isinstance(att_pdu, att.ATT_Handle_Value_Notification):
            for subscriber in tuple(self.notification_subscribers.get(att_pdu.attribute_handle, ())):
                if callable(subscriber):
                    subscriber(att_pdu.attribute_value)
        else:
            super().on_gatt_pdu(att_pdu)


class BumbleClient(BaseBleakClient):
    """`BleakClient(device, backend=BumbleClient)` for a `BLEDevice` that a `BumbleScanner` found."""

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,
        central: Central | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout)
        found = address_or_ble_device.details if isinstance(address_or_ble_device, BLEDevice) else central
        if not isinstance(found, Central):
            raise BleakError(f"{self.address}: give the BLEDevice that a BumbleScanner found, or central=")
        self._name = address_or_ble_device.name if isinstance(address_or_ble_device, BLEDevice) else None
        self._central = found
        self._connection: Connection | None = None
        self._client: _Client | None = None
        self._lost: asyncio.Future[int] | None = None  # result: the HCI reason
        self._closing = False
        self._cccd: dict[int, int] = {}  # handle of the CCCD by handle of its characteristic

    @property
    def name(self) -> str:
        return self._name or self.address.replace(":", "-")

    @property
    def mtu_size(self) -> int:
        return self._connection.att_mtu if self._connection is not None else att.ATT_DEFAULT_MTU

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **kwargs: Any) -> None:
        if self._connection is not None:
            raise BleakError("already connected")
        self._closing = False
        try:
            connection = await self._central.connect(self.address, self._timeout)
        except core.BaseBumbleError as error:
            raise BleakDeviceNotFoundError(self.address, f"{self.address} did not answer") from error
        self._connection = connection
        self._lost = asyncio.get_running_loop().create_future()
        connection.on(connection.EVENT_DISCONNECTION, self._on_disconnection)
        self._client = connection.gatt_client = _Client(connection)
        try:
            await self._run(self._client.request_mtu(ATT_MTU))
            self.services = await self._run(self._discover(self._client))
        except BaseException:
            with contextlib.suppress(BleakError):
                await self.disconnect()
            raise

    async def disconnect(self) -> None:
        self._closing = True
        if (connection := self._connection) is not None:
            with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error, BleakError):
                await self._run(connection.disconnect())
            self._forget()

    async def pair(self, *args: Any, **kwargs: Any) -> None:
        if self._connection is None:
            raise BleakError("not connected")
        await self._run(self._connection.pair())

    async def unpair(self) -> None:
        if self._central.device.keystore is not None:
            with contextlib.suppress(KeyError):
                await self._central.device.keystore.delete(self.address)
        await self.disconnect()

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        return bytearray(await self._run(self._gatt().read_value(characteristic.handle)))

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        return bytearray(await self._run(self._gatt().read_value(descriptor.handle)))

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool) -> None:
        await self._run(self._gatt().write_value(characteristic.handle, bytes(data), with_response=response))

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        await self._run(self._gatt().write_value(descriptor.handle, bytes(data), with_response=True))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: Any
    ) -> None:
        client = self._gatt()
        handle = characteristic.handle
        cccd = self._cccd.get(handle)
        if cccd is None:
            raise BleakError(f"{characteristic.uuid}: cannot notify, it has no CCCD")
        notify = "notify" in characteristic.properties
        subscribers = client.notification_subscribers if notify else client.indication_subscribers
        subscribers[handle] = {lambda value: callback(bytearray(value))}
        await self._run(client.write_value(cccd, b"\x01\x00" if notify else b"\x02\x00", with_response=True))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        client = self._gatt()
        client.notification_subscribers.pop(characteristic.handle, None)
        client.indication_subscribers.pop(characteristic.handle, None)
        if (cccd := self._cccd.get(characteristic.handle)) is not None:
            await self._run(client.write_value(cccd, b"\x00\x00", with_response=True))

    def _gatt(self) -> _Client:
        if self._client is None:
            raise BleakError("not connected")
        return self._client

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, or the end of the link: whichever comes first. Raises `BleakError`."""
        lost = self._lost
        if lost is None or lost.done():
            work.close()
            raise BleakError("the link is gone")
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, lost), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            raise BleakError("the link was lost")
        try:
            return task.result()
        except att.ATT_Error as error:
            raise BleakGATTProtocolError(error.error_code) from error
        except (core.BaseBumbleError, hci.HCI_Error, AssertionError) as error:
            raise BleakError(f"{type(error).__name__} from the Bluetooth stack") from error

    def _on_disconnection(self, reason: int) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)
        self._forget()
        if self._disconnected_callback is not None and not self._closing:
            self._disconnected_callback()

    def _forget(self) -> None:
        self._connection = self._client = self.services = None
        self._cccd.clear()

    async def _discover(self, client: _Client) -> BleakGATTServiceCollection:
        peer_services = await client.discover_services()
        found = BleakGATTServiceCollection()
        for proxy in peer_services:
            service = BleakGATTService(proxy, proxy.handle, _uuid_str(proxy.uuid))
            found.add_service(service)
            for char in await client.discover_characteristics((), proxy):
                characteristic = BleakGATTCharacteristic(
                    char,
                    char.handle,
                    _uuid_str(char.uuid),
                    list(gatt_char_props_to_strs(char.properties)),
                    lambda: self.mtu_size - 3,
                    service,
                )
                found.add_characteristic(characteristic)
                for desc in await client.discover_descriptors(char):
                    uuid = _uuid_str(desc.type)
                    found.add_descriptor(BleakGATTDescriptor(desc, desc.handle, uuid, characteristic))
                    if uuid == CCCD:
                        self._cccd[char.handle] = desc.handle
        return found


def _uuid_str(uuid: core.UUID) -> str:
    """A UUID as bleak spells it: 128 bits, lower case."""
    return normalize_uuid_str(str(uuid.to_hex_str("-")))
