"""Heart Rate Service 1.0: heart rate measurement (0x2A37) and body sensor location (0x2A38), both directions.

Pure; no clock, file, socket or asyncio.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from bedside.ble.reader import Reader

SERVICE = "0000180d-0000-1000-8000-00805f9b34fb"
MEASUREMENT = "00002a37-0000-1000-8000-00805f9b34fb"
LOCATION = "00002a38-0000-1000-8000-00805f9b34fb"


class Flag(IntFlag):
    """Flags of the measurement (HRS 3.1.1.1)."""

    WIDE_RATE = 0x01
    CONTACT = 0x02
    CONTACT_KNOWN = 0x04
    ENERGY = 0x08
    RR = 0x10


ALL_FLAGS = 0x1F


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartRate:
    """One measurement. `heart_rate` in 1/min; `rr_1024` in 1/1024 s, oldest first; `contact` None: cannot tell."""

    heart_rate: int
    contact: bool | None = None
    energy_kj: int | None = None
    rr_1024: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """The packet; a rate above 255 takes two bytes. Raises `struct.error` for what does not fit a field."""
        flags = 0
        if self.heart_rate > 0xFF:
            flags |= Flag.WIDE_RATE
        if self.contact is not None:
            flags |= Flag.CONTACT_KNOWN | (Flag.CONTACT if self.contact else 0)
        if self.energy_kj is not None:
            flags |= Flag.ENERGY
        if self.rr_1024:
            flags |= Flag.RR
        packet = struct.pack("<BH" if flags & Flag.WIDE_RATE else "<BB", flags, self.heart_rate)
        if self.energy_kj is not None:
            packet += struct.pack("<H", self.energy_kj)
        return packet + struct.pack(f"<{len(self.rr_1024)}H", *self.rr_1024)


def decode_heart_rate(payload: bytes) -> HeartRate:
    """Decode 0x2A37. Raises `DecodeError`, and nothing else.

    Refused: reserved flags (a field we do not know could stand before the RR intervals), half an RR interval, the
    RR flag without one, and bytes after the end. The contact bit without "contact known" says nothing: None.
    """
    reader = Reader("heart rate measurement 2A37", payload)
    flags = reader.only("flags", reader.u8("flags"), ALL_FLAGS)
    rate = reader.u16("heart rate") if flags & Flag.WIDE_RATE else reader.u8("heart rate")
    energy_kj = reader.u16("energy expended") if flags & Flag.ENERGY else None
    rr: list[int] = []
    if flags & Flag.RR:
        rr.append(reader.u16("RR interval"))
        while reader.left:
            rr.append(reader.u16("RR interval"))
    reader.end()
    contact = bool(flags & Flag.CONTACT) if flags & Flag.CONTACT_KNOWN else None
    return HeartRate(heart_rate=rate, contact=contact, energy_kj=energy_kj, rr_1024=tuple(rr))


class Location(IntEnum):
    """Body sensor location (HRS 3.2)."""

    OTHER = 0
    CHEST = 1
    WRIST = 2
    FINGER = 3
    HAND = 4
    EAR_LOBE = 5
    FOOT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySensorLocation:
    """Where the sensor sits; `location` None for a reserved value, which `raw` keeps."""

    location: Location | None
    raw: int

    def encode(self) -> bytes:
        return bytes([self.raw])


def decode_body_sensor_location(payload: bytes) -> BodySensorLocation:
    """Decode 0x2A38. Raises `DecodeError`, and nothing else; bytes after the first are refused."""
    reader = Reader("body sensor location 2A38", payload)
    raw = reader.u8("location")
    reader.end()
    return BodySensorLocation(location=Location(raw) if raw <= max(Location) else None, raw=raw)
