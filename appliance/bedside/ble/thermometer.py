"""Health Thermometer Service 1.0: temperature (0x2A1C) and intermediate temperature (0x2A1E), both directions. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bedside.ble import ieee11073
from bedside.ble.date_time import Timestamp, read_timestamp
from bedside.ble.ieee11073 import Number
from bedside.ble.reader import Reader

SERVICE = "00001809-0000-1000-8000-00805f9b34fb"
TEMPERATURE = "00002a1c-0000-1000-8000-00805f9b34fb"
INTERMEDIATE = "00002a1e-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """A temperature in `unit` "C" or "F"; `type` is the measuring site's code (1 armpit to 9 tympanum)."""

    temperature: Number
    unit: str
    timestamp: Timestamp | None = None
    type: int | None = None

    def encode(self) -> bytes:
        """The packet. Raises `ValueError` for a temperature that no FLOAT says exactly."""
        flags = (self.unit == "F") | (self.timestamp is not None) << 1 | (self.type is not None) << 2
        packet = struct.pack("<BI", flags, ieee11073.encode_float(self.temperature))
        packet += self.timestamp.encode() if self.timestamp is not None else b""
        return packet + (bytes([self.type]) if self.type is not None else b"")


def decode_temperature(payload: bytes) -> Temperature:
    """Decode 0x2A1C. Raises `DecodeError`, and nothing else; refuses reserved flags and bytes after the end."""
    return _decode("temperature 2A1C", payload)


def decode_intermediate_temperature(payload: bytes) -> Temperature:
    """Decode 0x2A1E, which is laid out as 0x2A1C."""
    return _decode("intermediate temperature 2A1E", payload)


def _decode(characteristic: str, payload: bytes) -> Temperature:
    reader = Reader(characteristic, payload)
    flags = reader.only("flags", reader.u8("flags"), 0x07)
    value = Temperature(
        temperature=reader.float32("temperature"),
        unit="F" if flags & 0x01 else "C",
        timestamp=read_timestamp(reader, "timestamp") if flags & 0x02 else None,
        type=reader.u8("temperature type") if flags & 0x04 else None,
    )
    reader.end()
    return value
