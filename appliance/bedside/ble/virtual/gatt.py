"""The GATT table of a virtual wearable: its services, and one call that notifies whoever subscribed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bumble import att, data_types
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, Descriptor, Service

from bedside.ble import battery, device_information, heart_rate, plx, pmd

Properties = Characteristic.Properties
READABLE = Characteristic.READABLE
WRITEABLE = Characteristic.WRITEABLE
USER_DESCRIPTION = UUID("2901")
NOTIFICATION = 0x1B  # ATT opcode, Core 3.F 3.4.7.1


class GattTable:
    """What a wearable serves. The functions give the value of a read; `command` takes a write of the control point."""

    def __init__(
        self,
        device: Device,
        *,
        lead: str,
        has_oximeter: bool,
        battery_level: Callable[[], bytes],
        features: Callable[[], bytes],
        command: Callable[[Connection, bytes], None],
        information: dict[str, str],
    ) -> None:
        self._device = device
        self.by_uuid: dict[str, Characteristic[bytes]] = {}
        lead_name = Descriptor(USER_DESCRIPTION, READABLE, f"ECG lead {lead}".encode())
        services = [
            self._service(
                heart_rate.SERVICE,
                self._characteristic(heart_rate.MEASUREMENT, Properties.NOTIFY),
                self._characteristic(heart_rate.LOCATION, Properties.READ, read=lambda: b"\x01"),
            ),
            self._service(
                pmd.SERVICE,
                self._characteristic(
                    pmd.CONTROL_POINT,
                    Properties.READ | Properties.WRITE | Properties.INDICATE,
                    read=features,
                    write=command,
                ),
                self._characteristic(pmd.DATA, Properties.NOTIFY, descriptors=(lead_name,)),
            ),
            self._service(
                battery.SERVICE,
                self._characteristic(battery.LEVEL, Properties.READ | Properties.NOTIFY, read=battery_level),
            ),
            self._service(
                device_information.SERVICE,
                *(self._text(uuid, text) for uuid, text in information.items()),
            ),
        ]
        if has_oximeter:
            services.append(self._service(plx.SERVICE, self._characteristic(plx.CONTINUOUS, Properties.NOTIFY)))
        device.add_services(services)

    def _service(self, uuid: str, *characteristics: Characteristic[bytes]) -> Service:
        return Service(_short(uuid), characteristics)

    def _characteristic(
        self,
        uuid: str,
        properties: Properties,
        *,
        read: Callable[[], bytes] | None = None,
        write: Callable[[Connection, bytes], None] | None = None,
        descriptors: Sequence[Descriptor] = (),
    ) -> Characteristic[bytes]:
        permissions = (READABLE if read is not None else 0) | (WRITEABLE if write is not None else 0)
        value: att.AttributeValue[bytes] | None = None
        if read is not None or write is not None:
            value = att.AttributeValue(read=None if read is None else lambda _: read(), write=write)
        characteristic: Characteristic[bytes] = Characteristic(
            _short(uuid), properties, Characteristic.Permissions(permissions), value, descriptors
        )
        self.by_uuid[uuid] = characteristic
        return characteristic

    def _text(self, uuid: str, text: str) -> Characteristic[bytes]:
        return self._characteristic(uuid, Properties.READ, read=text.encode)

    def subscribers(self, uuid: str) -> list[Connection]:
        """The links that asked for notifications of `uuid`."""
        handle = self.by_uuid[uuid].handle
        found: list[Any] = [
            bearer
            for bearer, values in self._device.gatt_server.subscribers.items()
            if values.get(handle, b"\0")[0] & 0x01
        ]
        return [bearer for bearer in found if isinstance(bearer, Connection)]

    def notify(self, uuid: str, payload: bytes) -> bool:
        """Send a notification to each subscriber; False when there is none.

        Raises `ValueError` where it does not fit the MTU: bumble would cut it, and a wearable that was tested so
        would send wrong numbers.
        """
        links = self.subscribers(uuid)
        handle = self.by_uuid[uuid].handle
        pdu = bytes([NOTIFICATION]) + handle.to_bytes(2, "little") + payload
        for link in links:
            if len(pdu) > link.att_mtu:
                raise ValueError(f"notification of {len(payload)} bytes: the MTU of this link is {link.att_mtu}")
            link.send_l2cap_pdu(att.ATT_CID, pdu)
        return bool(links)


def advertising_data(name: str, services: Sequence[str]) -> bytes:
    """Flags, the 16-bit services and the name. Raises `ValueError` when it is longer than the 31 bytes there are."""
    data = bytes(
        AdvertisingData(
            [
                data_types.Flags(
                    AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE | AdvertisingData.Flags.BR_EDR_NOT_SUPPORTED
                ),
                data_types.CompleteListOf16BitServiceUUIDs([UUID(_short(uuid)) for uuid in services]),
                data_types.CompleteLocalName(name),
            ]
        )
    )
    if len(data) > 31:
        raise ValueError(f"name {name!r}: {len(data) - 31} bytes too long to be advertised with its services")
    return data


def _short(uuid: str) -> str:
    """The 16-bit form of a Bluetooth UUID, so that it travels as such; others as they are."""
    return uuid[4:8] if uuid.startswith("0000") and uuid.endswith("-0000-1000-8000-00805f9b34fb") else uuid
