"""Weight Scale 1.0 (0x2A9D) and Body Composition 1.0 (0x2A9C), both directions. Pure.

Both count in steps: 0.005 kg or 0.01 lb, 0.001 m or 0.1 in, 0.1 %, 0.1 ohm; here they are exact decimals. 0xFFFF in
the first field means "measurement unsuccessful" and is no number.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from bedside.ble.date_time import Timestamp, read_timestamp
from bedside.ble.reader import Reader

WEIGHT_SERVICE = "0000181d-0000-1000-8000-00805f9b34fb"
WEIGHT = "00002a9d-0000-1000-8000-00805f9b34fb"
BODY_COMPOSITION_SERVICE = "0000181b-0000-1000-8000-00805f9b34fb"
BODY_COMPOSITION = "00002a9c-0000-1000-8000-00805f9b34fb"

UNSUCCESSFUL_CODE = 0xFFFF
TENTH = Decimal("0.1")


class NoMeasurement(StrEnum):
    """What a scale says instead of a number."""

    UNSUCCESSFUL = "unsuccessful"


Measured: TypeAlias = Decimal | NoMeasurement


def _mass_step(imperial: bool) -> Decimal:
    return Decimal("0.01") if imperial else Decimal("0.005")


def _height_step(imperial: bool) -> Decimal:
    return TENTH if imperial else Decimal("0.001")


def _count(value: Measured, step: Decimal) -> int:
    if isinstance(value, NoMeasurement):
        return UNSUCCESSFUL_CODE
    count = value / step
    if count != int(count) or not 0 <= count <= UNSUCCESSFUL_CODE:
        raise ValueError(f"{value}: not a number of steps of {step} that fits 16 bits")
    return int(count)


def _measured(code: int, step: Decimal) -> Measured:
    return NoMeasurement.UNSUCCESSFUL if code == UNSUCCESSFUL_CODE else code * step


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A weight in `unit` "kg" (then `height` in m) or "lb" (then in inches); `user_id` 255 unknown."""

    weight: Measured
    unit: str
    timestamp: Timestamp | None = None
    user_id: int | None = None
    bmi: Decimal | None = None
    height: Decimal | None = None

    def encode(self) -> bytes:
        """The packet. Raises `ValueError` for a number between two steps; BMI and height go together."""
        imperial = self.unit == "lb"
        flags = imperial | (self.timestamp is not None) << 1 | (self.user_id is not None) << 2
        packet = struct.pack("<H", _count(self.weight, _mass_step(imperial)))
        packet += self.timestamp.encode() if self.timestamp is not None else b""
        packet += bytes([self.user_id]) if self.user_id is not None else b""
        if self.bmi is not None and self.height is not None:
            flags |= 0x08
            packet += struct.pack("<HH", _count(self.bmi, TENTH), _count(self.height, _height_step(imperial)))
        return bytes([flags]) + packet


def decode_weight(payload: bytes) -> Weight:
    """Decode 0x2A9D. Raises `DecodeError`, and nothing else; refuses reserved flags and bytes after the end."""
    reader = Reader("weight measurement 2A9D", payload)
    flags = reader.only("flags", reader.u8("flags"), 0x0F)
    imperial = bool(flags & 0x01)
    value = Weight(
        weight=_measured(reader.u16("weight"), _mass_step(imperial)),
        unit="lb" if imperial else "kg",
        timestamp=read_timestamp(reader, "timestamp") if flags & 0x02 else None,
        user_id=reader.u8("user id") if flags & 0x04 else None,
        bmi=reader.u16("BMI") * TENTH if flags & 0x08 else None,
        height=reader.u16("height") * _height_step(imperial) if flags & 0x08 else None,
    )
    reader.end()
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyComposition:
    """Masses in kg or lb and height in m or inches by `system` ("si", "imperial").

    `multiple_packet`: the measurement goes on in a further packet, with the same time stamp and user.
    """

    body_fat_pct: Measured
    system: str
    timestamp: Timestamp | None = None
    user_id: int | None = None
    basal_metabolism_kj: int | None = None
    muscle_pct: Decimal | None = None
    muscle_mass: Decimal | None = None
    fat_free_mass: Decimal | None = None
    soft_lean_mass: Decimal | None = None
    body_water_mass: Decimal | None = None
    impedance_ohm: Decimal | None = None
    weight: Decimal | None = None
    height: Decimal | None = None
    multiple_packet: bool = False

    def encode(self) -> bytes:
        """The packet. Raises `ValueError` for a number between two steps."""
        imperial = self.system == "imperial"
        flags = int(imperial)
        packet = struct.pack("<H", _count(self.body_fat_pct, TENTH))
        if self.timestamp is not None:
            flags |= 0x02
            packet += self.timestamp.encode()
        if self.user_id is not None:
            flags |= 0x04
            packet += bytes([self.user_id])
        mass = _mass_step(imperial)
        metabolism = None if self.basal_metabolism_kj is None else Decimal(self.basal_metabolism_kj)
        for bit, field, step in (
            (3, metabolism, Decimal(1)),
            (4, self.muscle_pct, TENTH),
            (5, self.muscle_mass, mass),
            (6, self.fat_free_mass, mass),
            (7, self.soft_lean_mass, mass),
            (8, self.body_water_mass, mass),
            (9, self.impedance_ohm, TENTH),
            (10, self.weight, mass),
            (11, self.height, _height_step(imperial)),
        ):
            if field is not None:
                flags |= 1 << bit
                packet += struct.pack("<H", _count(field, step))
        return struct.pack("<H", flags | self.multiple_packet << 12) + packet


def decode_body_composition(payload: bytes) -> BodyComposition:
    """Decode 0x2A9C. Raises `DecodeError`, and nothing else; refuses reserved flags and bytes after the end."""
    reader = Reader("body composition measurement 2A9C", payload)
    flags = reader.only("flags", reader.u16("flags"), 0x1FFF)
    imperial = bool(flags & 0x01)

    def steps(bit: int, name: str, step: Decimal) -> Decimal | None:
        return reader.u16(name) * step if flags >> bit & 1 else None

    mass = _mass_step(imperial)
    value = BodyComposition(
        body_fat_pct=_measured(reader.u16("body fat percentage"), TENTH),
        system="imperial" if imperial else "si",
        timestamp=read_timestamp(reader, "timestamp") if flags & 0x02 else None,
        user_id=reader.u8("user id") if flags & 0x04 else None,
        basal_metabolism_kj=reader.u16("basal metabolism") if flags & 0x08 else None,
        muscle_pct=steps(4, "muscle percentage", TENTH),
        muscle_mass=steps(5, "muscle mass", mass),
        fat_free_mass=steps(6, "fat free mass", mass),
        soft_lean_mass=steps(7, "soft lean mass", mass),
        body_water_mass=steps(8, "body water mass", mass),
        impedance_ohm=steps(9, "impedance", TENTH),
        weight=steps(10, "weight", mass),
        height=steps(11, "height", _height_step(imperial)),
        multiple_packet=bool(flags & 0x1000),
    )
    reader.end()
    return value
