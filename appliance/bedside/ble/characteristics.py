"""Which characteristics Bedside can read, and how a decoded value looks as JSON. Pure."""

from __future__ import annotations

import dataclasses
import uuid as uuids
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

from bedside.ble import (
    battery,
    blood_pressure,
    cgm_session,
    date_time,
    glucose,
    heart_rate,
    plx,
    pmd,
    pmd_frames,
    racp,
    thermometer,
    weight,
)
from bedside.ble.date_time import Timestamp
from bedside.core.errors import DecodeError
from bedside.core.events import Json

BASE_SUFFIX = "-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True)
class Characteristic:
    """A characteristic and its decoder, which gives a dataclass or raises `DecodeError`."""

    uuid: str
    name: str
    decode: Callable[[bytes], Any]


CHARACTERISTICS: dict[str, Characteristic] = {
    entry.uuid: entry
    for entry in (
        Characteristic(heart_rate.MEASUREMENT, "heart rate measurement", heart_rate.decode_heart_rate),
        Characteristic(heart_rate.LOCATION, "body sensor location", heart_rate.decode_body_sensor_location),
        Characteristic(plx.SPOT_CHECK, "pulse oximeter spot check", plx.decode_spot_check),
        Characteristic(plx.CONTINUOUS, "pulse oximeter continuous", plx.decode_continuous),
        Characteristic(thermometer.TEMPERATURE, "temperature", thermometer.decode_temperature),
        Characteristic(
            thermometer.INTERMEDIATE, "intermediate temperature", thermometer.decode_intermediate_temperature
        ),
        Characteristic(blood_pressure.MEASUREMENT, "blood pressure", blood_pressure.decode_blood_pressure),
        Characteristic(weight.WEIGHT, "weight", weight.decode_weight),
        Characteristic(weight.BODY_COMPOSITION, "body composition", weight.decode_body_composition),
        Characteristic(glucose.MEASUREMENT, "glucose", glucose.decode_glucose),
        Characteristic(glucose.CGM_MEASUREMENT, "CGM", glucose.decode_cgm),
        Characteristic(cgm_session.FEATURE, "CGM feature", cgm_session.decode_cgm_feature),
        Characteristic(cgm_session.STATUS, "CGM status", cgm_session.decode_cgm_status),
        Characteristic(cgm_session.SESSION_START, "CGM session start time", cgm_session.decode_session_start),
        Characteristic(racp.RECORD_ACCESS, "record access control point", racp.decode_record_access),
        Characteristic(battery.LEVEL, "battery", battery.decode_battery_level),
        Characteristic(date_time.DATE_TIME, "date time", date_time.decode_date_time),
        Characteristic(date_time.CURRENT_TIME, "current time", date_time.decode_current_time),
        Characteristic(pmd.DATA, "Polar PMD data", pmd_frames.decode_frame),
    )
}


def full_uuid(text: str) -> str:
    """A 16-bit number ("2A37", "0x2a37") or a whole UUID, as a whole one. Raises `ValueError`."""
    short = text.lower().removeprefix("0x")
    if len(short) == 4:
        return f"0000{int(short, 16):04x}{BASE_SUFFIX}"
    return str(uuids.UUID(text))


def decode(uuid: str, payload: bytes) -> dict[str, Json]:
    """The fields of a packet as JSON. Raises `DecodeError`, also for a characteristic that has no decoder."""
    known = CHARACTERISTICS.get(uuid)
    if known is None:
        raise DecodeError(uuid, "UUID", "Bedside has no decoder for this characteristic")
    fields = to_json(known.decode(payload))
    assert isinstance(fields, dict)
    return fields


def to_json(value: Any) -> Json:
    """A decoded value as plain JSON values: every field, exact numbers, words for codes that have them."""
    match value:
        case None | bool() | float():
            return value
        case Timestamp():
            return _timestamp(value)
        case IntEnum():
            return value.name.lower()
        case StrEnum():
            return {"special": str(value)}
        case int() | str():
            return value
        case Decimal():
            return int(value) if value == value.to_integral_value() and abs(value) < 10**15 else float(value)
        case tuple() | list():
            return [to_json(item) for item in value]
        case _:
            return {item.name: to_json(getattr(value, item.name)) for item in dataclasses.fields(value)}


def _timestamp(stamp: Timestamp) -> Json:
    time = f"{stamp.hour:02}:{stamp.minute:02}:{stamp.second:02}"
    if unknown := stamp.unknown:
        return {"unknown": list(unknown), "year": stamp.year, "month": stamp.month, "day": stamp.day, "time": time}
    return f"{stamp.year:04}-{stamp.month:02}-{stamp.day:02}T{time}"
