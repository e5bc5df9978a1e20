"""Glucose Service 1.0 (0x2A18) and Continuous Glucose Monitoring Service 1.0 (0x2AA7), both directions. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from bedside.ble import ieee11073
from bedside.ble.date_time import Timestamp, read_timestamp
from bedside.ble.ieee11073 import Number
from bedside.ble.reader import Reader

SERVICE = "00001808-0000-1000-8000-00805f9b34fb"
MEASUREMENT = "00002a18-0000-1000-8000-00805f9b34fb"
CGM_SERVICE = "0000181f-0000-1000-8000-00805f9b34fb"
CGM_MEASUREMENT = "00002aa7-0000-1000-8000-00805f9b34fb"


class OffsetLimit(StrEnum):
    """A time offset beyond what the field can say (GLS 3.1.1.4)."""

    OVERRUN = "overrun"  # 0x7FFF
    UNDERRUN = "underrun"  # 0x8000


TimeOffset: TypeAlias = int | OffsetLimit
_LIMITS = {0x7FFF: OffsetLimit.OVERRUN, -0x8000: OffsetLimit.UNDERRUN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Glucose:
    """One measurement. `type` and `location` are the codes of fluid and site, `status` the raw bits.

    `unit` is "kg/L" or "mol/L"; None, as `concentration`, where the packet carries no concentration.
    """

    sequence: int
    base_time: Timestamp
    time_offset_min: TimeOffset | None = None
    concentration: Number | None = None
    unit: str | None = None
    type: int | None = None
    location: int | None = None
    status: int | None = None
    context_follows: bool = False

    def encode(self) -> bytes:
        """The packet. Raises `ValueError` for a concentration that no SFLOAT says exactly."""
        flags = (self.time_offset_min is not None) | (self.status is not None) << 3 | self.context_follows << 4
        packet = struct.pack("<H", self.sequence) + self.base_time.encode()
        if self.time_offset_min is not None:
            codes = {limit: code for code, limit in _LIMITS.items()}
            offset = self.time_offset_min
            packet += struct.pack("<h", codes[offset] if isinstance(offset, OffsetLimit) else offset)
        if self.concentration is not None:
            flags |= 0x02 | (0x04 if self.unit == "mol/L" else 0)
            site = (self.location or 0) << 4 | (self.type or 0)
            packet += struct.pack("<HB", ieee11073.encode_sfloat(self.concentration), site)
        packet += struct.pack("<H", self.status) if self.status is not None else b""
        return bytes([flags]) + packet


def decode_glucose(payload: bytes) -> Glucose:
    """Decode 0x2A18. Raises `DecodeError`, and nothing else.

    Refused: reserved flags and bytes after the end. Reserved status bits and codes are kept raw.
    """
    reader = Reader("glucose measurement 2A18", payload)
    flags = reader.only("flags", reader.u8("flags"), 0x1F)
    sequence = reader.u16("sequence number")
    base_time = read_timestamp(reader, "base time")
    offset = reader.i16("time offset") if flags & 0x01 else None
    concentration: Number | None = None
    site: int | None = None
    if flags & 0x02:
        concentration, site = reader.sfloat("concentration"), reader.u8("type and sample location")
    status = reader.u16("sensor status annunciation") if flags & 0x08 else None
    reader.end()
    return Glucose(
        sequence=sequence,
        base_time=base_time,
        time_offset_min=None if offset is None else _LIMITS.get(offset, offset),
        concentration=concentration,
        unit=None if concentration is None else "mol/L" if flags & 0x04 else "kg/L",
        type=None if site is None else site & 0x0F,
        location=None if site is None else site >> 4,
        status=status,
        context_follows=bool(flags & 0x10),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CgmRecord:
    """One record of a CGM packet. Glucose in mg/dL, trend in mg/dL/min; the octets are raw bits."""

    glucose_mgdl: Number
    time_offset_min: int
    status_octet: int | None = None
    caltemp_octet: int | None = None
    warning_octet: int | None = None
    trend: Number | None = None
    quality_pct: Number | None = None
    crc_present: bool = False

    def encode(self) -> bytes:
        """The record, with its size in front and its CRC behind."""
        flags = (self.trend is not None) | (self.quality_pct is not None) << 1
        body = struct.pack("<HH", ieee11073.encode_sfloat(self.glucose_mgdl), self.time_offset_min)
        for bit, octet in ((7, self.status_octet), (6, self.caltemp_octet), (5, self.warning_octet)):
            if octet is not None:
                flags |= 1 << bit
                body += bytes([octet])
        for number in (self.trend, self.quality_pct):
            body += struct.pack("<H", ieee11073.encode_sfloat(number)) if number is not None else b""
        size = 2 + len(body) + (2 if self.crc_present else 0)
        record = bytes([size, flags]) + body
        return record + struct.pack("<H", crc16(record)) if self.crc_present else record


@dataclass(frozen=True, slots=True, kw_only=True)
class CgmMeasurement:
    """A CGM packet: one record or more."""

    records: tuple[CgmRecord, ...]

    def encode(self) -> bytes:
        return b"".join(record.encode() for record in self.records)


def decode_cgm(payload: bytes, *, crc: bool | None = None) -> CgmMeasurement:
    """Decode 0x2AA7. Raises `DecodeError`, and nothing else.

    Whether records carry an E2E-CRC is a feature of the sensor and not said in the packet. `crc` None: not known;
    two bytes more than the flags need are a CRC, and a wrong one is refused. `crc` True, by the sensor's features: a
    record without one is refused, so that damage to the flags cannot pass it off as a trend. Any other surplus and
    reserved flags are refused.
    """
    reader = Reader("CGM measurement 2AA7", payload)
    records = [_read_cgm_record(reader, crc)]
    while reader.left:
        records.append(_read_cgm_record(reader, crc))
    return CgmMeasurement(records=tuple(records))


def _read_cgm_record(outer: Reader, crc: bool | None) -> CgmRecord:
    size = outer.u8("size")
    if size < 6:  # size, flags, glucose and time offset are always there
        outer.refuse("size", f"{size}: a record has at least 6 bytes")
    body = outer.raw("record", size - 1)
    reader = Reader(outer.characteristic, body)
    flags = reader.only("flags", reader.u8("flags"), 0xE3)
    glucose, offset = reader.sfloat("glucose concentration"), reader.u16("time offset")
    status = reader.u8("status octet") if flags & 0x80 else None
    caltemp = reader.u8("calibration and temperature octet") if flags & 0x40 else None
    warning = reader.u8("warning octet") if flags & 0x20 else None
    trend = reader.sfloat("trend") if flags & 0x01 else None
    quality = reader.sfloat("quality") if flags & 0x02 else None
    crc_present = reader.left == 2
    if crc is not None and crc is not crc_present:
        reader.refuse("E2E-CRC", "missing" if crc else "not expected of this sensor")
    if crc_present:
        expected, sent = crc16(bytes([size]) + body[:-2]), reader.u16("E2E-CRC")
        if sent != expected:
            reader.refuse("E2E-CRC", f"0x{sent:04X} does not fit the record")
    reader.end()
    return CgmRecord(
        glucose_mgdl=glucose,
        time_offset_min=offset,
        status_octet=status,
        caltemp_octet=caltemp,
        warning_octet=warning,
        trend=trend,
        quality_pct=quality,
        crc_present=crc_present,
    )


def crc16(data: bytes) -> int:
    """CRC-CCITT of CGMS 3.11: polynomial x^16+x^12+x^5+1, least significant bit first, seed 0xFFFF (MCRF4XX)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc
