"""The date and time that health characteristics share (0x2A08, and inside others), and Current Time (0x2A2B).

Pure; no clock, file, socket or asyncio.
"""

from __future__ import annotations

import calendar
import struct
from dataclasses import dataclass

from bedside.ble.reader import Reader

DATE_TIME = "00002a08-0000-1000-8000-00805f9b34fb"
CURRENT_TIME = "00002a2b-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """Date and time of the wearable's own clock, without a zone. `year`, `month`, `day` 0: the wearable knows not."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int

    @property
    def unknown(self) -> tuple[str, ...]:
        """The parts that the wearable says it does not know."""
        return tuple(name for name in ("year", "month", "day") if getattr(self, name) == 0)

    def encode(self) -> bytes:
        return struct.pack("<HBBBBB", self.year, self.month, self.day, self.hour, self.minute, self.second)


def read_timestamp(reader: Reader, field: str) -> Timestamp:
    """The seven bytes of a date time. Raises `DecodeError` for one that no calendar has.

    The year is 0 or 1582 to 9999 (GSS, Date Time). A day is checked against its month, and 29 February against
    its year, as far as they are known.
    """
    stamp = Timestamp(
        year=reader.u16(f"{field} year"),
        month=reader.u8(f"{field} month"),
        day=reader.u8(f"{field} day"),
        hour=reader.u8(f"{field} hour"),
        minute=reader.u8(f"{field} minute"),
        second=reader.u8(f"{field} second"),
    )
    if stamp.year and not 1582 <= stamp.year <= 9999:
        reader.refuse(f"{field} year", f"{stamp.year}: expected 0 (unknown) or 1582 to 9999")
    if stamp.month > 12:
        reader.refuse(f"{field} month", f"{stamp.month}: expected 0 (unknown) or 1 to 12")
    days = calendar.monthrange(stamp.year or 2000, stamp.month)[1] if stamp.month else 31
    if stamp.day > days:
        reader.refuse(f"{field} day", f"{stamp.day}: the month has {days}")
    for name, value, highest in (("hour", stamp.hour, 23), ("minute", stamp.minute, 59), ("second", stamp.second, 59)):
        if value > highest:
            reader.refuse(f"{field} {name}", f"{value}: at most {highest}")
    return stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class DateTime:
    """0x2A08 on its own."""

    datetime: Timestamp

    def encode(self) -> bytes:
        return self.datetime.encode()


def decode_date_time(payload: bytes) -> DateTime:
    """Decode 0x2A08. Raises `DecodeError`, and nothing else; bytes after the end are refused."""
    reader = Reader("date time 2A08", payload)
    stamp = read_timestamp(reader, "date time")
    reader.end()
    return DateTime(datetime=stamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentTime:
    """0x2A2B. `day_of_week` 1 (Monday) to 7, 0 unknown; `fractions256` in 1/256 s; `adjust_reason` the raw bits."""

    datetime: Timestamp
    day_of_week: int
    fractions256: int
    adjust_reason: int

    def encode(self) -> bytes:
        return self.datetime.encode() + bytes([self.day_of_week, self.fractions256, self.adjust_reason])


def decode_current_time(payload: bytes) -> CurrentTime:
    """Decode 0x2A2B (Current Time Service 1.1). Raises `DecodeError`, and nothing else.

    Reserved adjust reason bits are kept as they are: they move no other field. Bytes after the end are refused.
    """
    reader = Reader("current time 2A2B", payload)
    stamp = read_timestamp(reader, "date time")
    day_of_week = reader.u8("day of week")
    if day_of_week > 7:
        reader.refuse("day of week", f"{day_of_week}: expected 0 (unknown) or 1 to 7")
    fractions256 = reader.u8("fractions")
    adjust_reason = reader.u8("adjust reason")
    reader.end()
    return CurrentTime(datetime=stamp, day_of_week=day_of_week, fractions256=fractions256, adjust_reason=adjust_reason)
