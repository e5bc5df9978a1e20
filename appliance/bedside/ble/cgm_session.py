"""Continuous Glucose Monitoring Service 1.0: feature (0x2AA8), status (0x2AA9), session start time (0x2AAA).

Both directions. A sensor counts minutes; its status says which minute it is now, so a record's true time follows
without believing any clock of it. Pure.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bedside.ble.date_time import Timestamp, read_timestamp
from bedside.ble.glucose import crc16
from bedside.ble.reader import Reader

FEATURE = "00002aa8-0000-1000-8000-00805f9b34fb"
STATUS = "00002aa9-0000-1000-8000-00805f9b34fb"
SESSION_START = "00002aaa-0000-1000-8000-00805f9b34fb"
E2E_CRC_SUPPORTED = 1 << 12
NO_CRC = 0xFFFF
ZONE_UNKNOWN = -128
DST_UNKNOWN = 255
_DST_QUARTERS = {0: 0, 2: 2, 4: 4, 8: 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class CgmFeature:
    """`features`: 24 raw bits; `type` and `location`: codes of fluid and site."""

    features: int
    type: int
    location: int

    @property
    def crc(self) -> bool:
        """Do the sensor's packets end with an E2E-CRC?"""
        return bool(self.features & E2E_CRC_SUPPORTED)

    def encode(self) -> bytes:
        body = self.features.to_bytes(3, "little") + bytes([self.location << 4 | self.type])
        return body + struct.pack("<H", crc16(body) if self.crc else NO_CRC)


def decode_cgm_feature(payload: bytes) -> CgmFeature:
    """Decode 0x2AA8. Raises `DecodeError`, and nothing else.

    The CRC field is always there: 0xFFFF where the sensor does not support it (CGMS 3.2.1). A wrong one is refused.
    """
    reader = Reader("CGM feature 2AA8", payload)
    features, site = reader.u24("features"), reader.u8("type and sample location")
    value = CgmFeature(features=features, type=site & 0x0F, location=site >> 4)
    sent = reader.u16("E2E-CRC")
    if sent != (crc16(bytes(payload)[:4]) if value.crc else NO_CRC):
        reader.refuse("E2E-CRC", f"0x{sent:04X} does not fit the packet")
    reader.end()
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class CgmStatus:
    """The present minute of the session and the raw status octets."""

    time_offset_min: int
    status_octet: int
    caltemp_octet: int
    warning_octet: int
    crc_present: bool = False

    def encode(self) -> bytes:
        body = struct.pack("<HBBB", self.time_offset_min, self.status_octet, self.caltemp_octet, self.warning_octet)
        return body + struct.pack("<H", crc16(body)) if self.crc_present else body


def decode_cgm_status(payload: bytes) -> CgmStatus:
    """Decode 0x2AA9. Raises `DecodeError`, and nothing else; a CRC may be there, and a wrong one is refused."""
    reader = Reader("CGM status 2AA9", payload)
    value = CgmStatus(
        time_offset_min=reader.u16("time offset"),
        status_octet=reader.u8("status octet"),
        caltemp_octet=reader.u8("calibration and temperature octet"),
        warning_octet=reader.u8("warning octet"),
        crc_present=_read_crc(reader, bytes(payload)[:5]),
    )
    reader.end()
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStart:
    """When the session began by the sensor's clock. Zone and DST in minutes; None: the sensor does not know them."""

    datetime: Timestamp
    zone_min: int | None
    dst_min: int | None
    crc_present: bool = False

    def encode(self) -> bytes:
        zone = ZONE_UNKNOWN if self.zone_min is None else self.zone_min // 15
        dst = DST_UNKNOWN if self.dst_min is None else self.dst_min // 15
        body = self.datetime.encode() + struct.pack("<bB", zone, dst)
        return body + struct.pack("<H", crc16(body)) if self.crc_present else body


def decode_session_start(payload: bytes) -> SessionStart:
    """Decode 0x2AAA. Raises `DecodeError`, and nothing else; reserved zones and DST offsets are refused."""
    reader = Reader("CGM session start time 2AAA", payload)
    stamp = read_timestamp(reader, "session start")
    zone, dst = reader.i8("time zone"), reader.u8("DST offset")
    if zone != ZONE_UNKNOWN and not -48 <= zone <= 56:
        reader.refuse("time zone", f"{zone}: expected -48 to 56, or -128 (unknown)")
    if dst != DST_UNKNOWN and dst not in _DST_QUARTERS:
        reader.refuse("DST offset", f"{dst}: expected 0, 2, 4, 8, or 255 (unknown)")
    crc = _read_crc(reader, bytes(payload)[:9])
    reader.end()
    return SessionStart(
        datetime=stamp,
        zone_min=None if zone == ZONE_UNKNOWN else zone * 15,
        dst_min=None if dst == DST_UNKNOWN else dst * 15,
        crc_present=crc,
    )


def _read_crc(reader: Reader, body: bytes) -> bool:
    if not reader.left:
        return False
    sent = reader.u16("E2E-CRC")
    if sent != crc16(body):
        reader.refuse("E2E-CRC", f"0x{sent:04X} does not fit the packet")
    return True
