"""Blood Pressure Service 1.1: blood pressure measurement (0x2A35), both directions. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bedside.ble import ieee11073
from bedside.ble.date_time import Timestamp, read_timestamp
from bedside.ble.ieee11073 import Number
from bedside.ble.reader import Reader

SERVICE = "00001810-0000-1000-8000-00805f9b34fb"
MEASUREMENT = "00002a35-0000-1000-8000-00805f9b34fb"
USER_UNKNOWN = 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class BloodPressure:
    """Pressures in `unit` "mmHg" or "kPa", pulse rate in 1/min; `status` is the raw bits, `user_id` 255 unknown."""

    systolic: Number
    diastolic: Number
    map: Number
    unit: str
    timestamp: Timestamp | None = None
    pulse_rate: Number | None = None
    user_id: int | None = None
    status: int | None = None

    def encode(self) -> bytes:
        """The packet. Raises `ValueError` for a number that no SFLOAT says exactly."""
        flags = (self.unit == "kPa") | (self.timestamp is not None) << 1 | (self.pulse_rate is not None) << 2
        flags |= (self.user_id is not None) << 3 | (self.status is not None) << 4
        pressures = (ieee11073.encode_sfloat(value) for value in (self.systolic, self.diastolic, self.map))
        packet = struct.pack("<BHHH", flags, *pressures)
        packet += self.timestamp.encode() if self.timestamp is not None else b""
        if self.pulse_rate is not None:
            packet += struct.pack("<H", ieee11073.encode_sfloat(self.pulse_rate))
        packet += bytes([self.user_id]) if self.user_id is not None else b""
        return packet + (struct.pack("<H", self.status) if self.status is not None else b"")


def decode_blood_pressure(payload: bytes) -> BloodPressure:
    """Decode 0x2A35. Raises `DecodeError`, and nothing else.

    Refused: reserved flags and bytes after the end. Reserved status bits are kept raw: they move no other field.
    """
    reader = Reader("blood pressure measurement 2A35", payload)
    flags = reader.only("flags", reader.u8("flags"), 0x1F)
    value = BloodPressure(
        systolic=reader.sfloat("systolic"),
        diastolic=reader.sfloat("diastolic"),
        map=reader.sfloat("mean arterial pressure"),
        unit="kPa" if flags & 0x01 else "mmHg",
        timestamp=read_timestamp(reader, "timestamp") if flags & 0x02 else None,
        pulse_rate=reader.sfloat("pulse rate") if flags & 0x04 else None,
        user_id=reader.u8("user id") if flags & 0x08 else None,
        status=reader.u16("measurement status") if flags & 0x10 else None,
    )
    reader.end()
    return value
