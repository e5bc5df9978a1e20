"""Spot measurements: cuff, thermometer, scale, glucose meter, spot oximeter; packets to numbers with a true time.

Such a wearable measures, calls, hands over what it has (also what it kept while nobody listened) and is silent again.
What matters is *when* a number was taken: its packets carry local time without a zone, by a clock that may be wrong or
never set. Rules, in this order:

- the offset of its clock is known (Current Time, read on this link): the stamp is translated by it;
- the stamp lies within `AGREES_S` of this box's local time: it is believed;
- no stamp, or a clock that was never set: a number that comes while the link is up for longer than `HANDOVER_S` was
  taken just now, and is marked; one that comes at once may be of any age, and is withheld.

A number older than `LIVE_S` when it is heard is *stored*: recorded at its true time, never alarmed on as live.
Sources: BLS 1.1, HTS 1.0, GLS 1.0, CGMS 1.0, WSS 1.0, PLXS 1.0. Pure: time and zone offset are passed in.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import IntFlag

from bedside.ble import blood_pressure, glucose, plx, thermometer, weight
from bedside.ble.date_time import CurrentTime, Timestamp
from bedside.ble.ieee11073 import Number
from bedside.core.codes import Code
from bedside.core.samples import Validity
from bedside.core.time import US_PER_S

AGREES_S = 900.0
"""A clock this far from ours at most is taken for right: wearables are set by hand and drift."""
HANDOVER_S = 5.0
"""Within so long after the subscription a wearable hands over what it kept; later numbers are new."""
LIVE_S = 120.0
"""Older when heard: stored."""
FUTURE_S = 60.0
"""A stamp further ahead than this is of a clock that is wrong."""

UUIDS = (
    blood_pressure.MEASUREMENT,
    thermometer.TEMPERATURE,
    glucose.MEASUREMENT,
    glucose.CGM_MEASUREMENT,
    weight.WEIGHT,
    plx.SPOT_CHECK,
)
_CLOCK_UNKNOWN = "time of the measurement not known"
_CLOCK_WRONG = "the wearable's clock is wrong: time as heard"


class PressureStatus(IntFlag):
    """Measurement status of a cuff (BLS 1.1, 3.1.1.6)."""

    BODY_MOVEMENT = 0x0001
    CUFF_TOO_LOOSE = 0x0002
    IRREGULAR_PULSE = 0x0004
    PULSE_RATE_TOO_HIGH = 0x0008
    PULSE_RATE_TOO_LOW = 0x0010
    IMPROPER_POSITION = 0x0020


class GlucoseStatus(IntFlag):
    """Sensor status annunciation of a meter (GLS 1.0, 3.1.1.7)."""

    BATTERY_LOW = 0x0001
    MALFUNCTION = 0x0002
    SAMPLE_SIZE = 0x0004
    STRIP_INSERTION = 0x0008
    STRIP_TYPE = 0x0010
    TOO_HIGH = 0x0020
    TOO_LOW = 0x0040
    TEMPERATURE_HIGH = 0x0080
    TEMPERATURE_LOW = 0x0100
    READ_INTERRUPTED = 0x0200
    GENERAL_FAULT = 0x0400
    TIME_FAULT = 0x0800


CONTROL_SOLUTION = 10
"""Type of a glucose sample that is no patient's (GLS 1.0, 3.1.1.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One number of a spot measurement. `stored`: taken before it could be heard; `taken_us` UTC."""

    code: Code
    value: float | None  # in the unit of `core.codes.FACTS`
    validity: Validity
    reason: str | None
    taken_us: int
    stored: bool
    untimed: bool = False  # nobody can say when it was taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """When and how a packet came. `zone_s`: this box's local time minus UTC."""

    now_us: int
    since_subscribed_s: float
    zone_s: float
    clock_offset_s: float | None = None  # UTC minus the wearable's clock; None: not known
    earlier_offset_s: float | None = None  # the same before this link set the clock; None: it was not set
    session_us: int | None = None  # minute 0 of a glucose sensor's session, UTC; None: not known


@dataclass(frozen=True, slots=True)
class _Taken:
    """When, how sure: `doubt` None is sure; `unknown` withholds the number."""

    at_us: int
    doubt: str | None = None
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class _Value:
    code: Code
    value: float | None
    doubt: str | None = None
    refused: str | None = None


def clock_offset_s(value: CurrentTime, now_us: int) -> float | None:
    """UTC minus the wearable's clock, from its answer that came at `now_us`; None where its date is not set."""
    seconds = _seconds(value.datetime)
    return None if seconds is None else now_us / US_PER_S - seconds - value.fractions256 / 256.0


def current_time(now_us: int, zone_s: float) -> CurrentTime:
    """What to write into 0x2A2B so that the wearable shows this box's local time."""
    local_s = now_us // US_PER_S + round(zone_s)
    year, month, day, hour, minute, second, week_day = _civil(local_s)
    stamp = Timestamp(year=year, month=month, day=day, hour=hour, minute=minute, second=second)
    return CurrentTime(
        datetime=stamp, day_of_week=week_day, fractions256=now_us % US_PER_S * 256 // US_PER_S, adjust_reason=1
    )


def decode(uuid: str, payload: bytes, heard: Heard) -> tuple[Spot, ...]:
    """The numbers of one packet. Raises `DecodeError`; `KeyError` for a characteristic that is none of `UUIDS`."""
    return tuple(_DECODERS[uuid](payload, heard))


def _spots(values: tuple[_Value, ...], taken: _Taken, heard: Heard) -> Iterator[Spot]:
    stored = (heard.now_us - taken.at_us) > LIVE_S * US_PER_S
    for one in values:
        reason: str | None
        refused = one.refused or (_CLOCK_UNKNOWN if taken.unknown else None)
        doubt = one.doubt or taken.doubt
        if refused is not None or one.value is None:
            value, validity, reason = None, Validity.REJECTED, str(refused or "no measurement")
        else:
            value, validity, reason = one.value, Validity.GOOD if doubt is None else Validity.QUESTIONABLE, doubt
        yield Spot(
            code=one.code, value=value, validity=validity, reason=reason, taken_us=taken.at_us,
            stored=stored or taken.unknown, untimed=taken.unknown,
        )  # fmt: skip


def _taken(stamp: Timestamp | None, heard: Heard, *, clock_set: bool = True, minutes: float = 0.0) -> _Taken:
    """When it was taken, by the rules at the top. `minutes` are added to the stamp."""
    stamp_s = _seconds(stamp) if stamp is not None and clock_set else None
    now_s = heard.now_us / US_PER_S
    if stamp_s is not None:
        stamp_s += minutes * 60.0
        at_s = _translated(stamp_s, heard)
        if at_s is not None:
            return _Taken(min(round(at_s * US_PER_S), heard.now_us))
        if abs(stamp_s - heard.zone_s - now_s) <= AGREES_S:
            return _Taken(min(round((stamp_s - heard.zone_s) * US_PER_S), heard.now_us))
    if heard.since_subscribed_s > HANDOVER_S:
        return _Taken(heard.now_us, None if stamp_s is None else _CLOCK_WRONG)
    return _Taken(heard.now_us, unknown=True)


def _translated(stamp_s: float, heard: Heard) -> float | None:
    """UTC seconds of a stamp by the clock's known offsets: as it is now where that fits, else as it was."""
    now_s, offset_s, earlier_s = heard.now_us / US_PER_S, heard.clock_offset_s, heard.earlier_offset_s
    if offset_s is not None:
        ago_s = now_s - (stamp_s + offset_s)
        if ago_s >= -FUTURE_S and (earlier_s is None or ago_s <= AGREES_S):
            return stamp_s + offset_s
    if earlier_s is not None and stamp_s + earlier_s <= now_s + FUTURE_S:
        return stamp_s + earlier_s
    return None


def _seconds(stamp: Timestamp) -> float | None:
    """The stamp as if it were UTC; None where its date is not known."""
    if stamp.unknown:
        return None
    whole = (stamp.year, stamp.month, stamp.day, stamp.hour, stamp.minute, stamp.second)
    return float(calendar.timegm((*whole, 0, 0, 0)))


def _civil(utc_s: int) -> tuple[int, int, int, int, int, int, int]:
    """Year, month, day, hour, minute, second, and day of the week, 1 Monday to 7."""
    parts = time.gmtime(utc_s)
    return (*parts[:6], parts.tm_wday + 1)


def _within(code: Code, number: Number, factor: float, lowest: float, highest: float, doubt: str | None) -> _Value:
    """A number in our unit, refused where no living body has it."""
    if not isinstance(number, Decimal):
        return _Value(code, None, refused="no measurement")
    value = float(number) * factor
    if not lowest <= value <= highest:
        return _Value(code, None, refused="impossible value")
    return _Value(code, round(value, 4), doubt)


def _flagged(status: int, table: tuple[tuple[int, str], ...]) -> str | None:
    return next((text for bits, text in table if status & bits), None)


_CUFF_DOUBTS = (
    (PressureStatus.BODY_MOVEMENT, "movement during the measurement"),
    (PressureStatus.CUFF_TOO_LOOSE, "cuff too loose"),
    (PressureStatus.IMPROPER_POSITION, "cuff in the wrong position"),
    (PressureStatus.IRREGULAR_PULSE, "irregular pulse during the measurement"),
)
_KPA = 7.500617


def _pressure(payload: bytes, heard: Heard) -> Iterator[Spot]:
    packet = blood_pressure.decode_blood_pressure(payload)
    factor = _KPA if packet.unit == "kPa" else 1.0
    doubt = _flagged(packet.status or 0, _CUFF_DOUBTS)
    values = [
        _within(Code.NIBP_SYSTOLIC, packet.systolic, factor, 30, 300, doubt),
        _within(Code.NIBP_DIASTOLIC, packet.diastolic, factor, 10, 200, doubt),
    ]
    if isinstance(packet.map, Decimal):  # most cuffs give none
        values.append(_within(Code.NIBP_MEAN, packet.map, factor, 20, 250, doubt))
    if isinstance(packet.pulse_rate, Decimal):
        values.append(_within(Code.PULSE_RATE, packet.pulse_rate, 1.0, 1, 350, doubt))
    low, high = values[1].value, values[0].value
    if low is not None and high is not None and low >= high:
        values = [_Value(one.code, None, refused="systolic not above diastolic") for one in values]  # nothing is sure
    return _spots(tuple(values), _taken(packet.timestamp, heard), heard)


_OUTER_SITES = frozenset({3, 4, 8})  # ear lobe, finger, toe (HTS 1.0, temperature type)


def _temperature(payload: bytes, heard: Heard) -> Iterator[Spot]:
    packet = thermometer.decode_temperature(payload)
    number = packet.temperature
    if packet.unit == "F" and isinstance(number, Decimal):
        number = (number - 32) * 5 / 9
    doubt = "skin temperature, not the body's core" if packet.type in _OUTER_SITES else None
    value = _within(Code.TEMPERATURE, number, 1.0, 25, 45, doubt)
    return _spots((value,), _taken(packet.timestamp, heard), heard)


def _weight(payload: bytes, heard: Heard) -> Iterator[Spot]:
    packet = weight.decode_weight(payload)
    if not isinstance(packet.weight, Decimal):
        value = _Value(Code.WEIGHT, None, refused="no measurement")
    else:
        value = _within(Code.WEIGHT, packet.weight, 0.45359237 if packet.unit == "lb" else 1.0, 2, 400, None)
    return _spots((value,), _taken(packet.timestamp, heard), heard)


_METER_FAULTS = (
    (GlucoseStatus.MALFUNCTION | GlucoseStatus.GENERAL_FAULT | GlucoseStatus.READ_INTERRUPTED, "meter fault"),
    (GlucoseStatus.SAMPLE_SIZE, "not enough blood on the strip"),
    (GlucoseStatus.STRIP_INSERTION | GlucoseStatus.STRIP_TYPE, "strip fault"),
    (GlucoseStatus.TEMPERATURE_HIGH | GlucoseStatus.TEMPERATURE_LOW, "meter too warm or too cold"),
)
MG_DL_PER_MMOL_L = 18.0182
"""Molar mass of glucose, 180.182 g/mol."""


def _glucose(payload: bytes, heard: Heard) -> Iterator[Spot]:
    packet = glucose.decode_glucose(payload)
    status = packet.status or 0
    refused = _flagged(status, _METER_FAULTS)
    if packet.type == CONTROL_SOLUTION:
        refused = "control solution, no patient's blood"
    elif refused is None and status & GlucoseStatus.TOO_HIGH:
        refused = "above what the meter can measure"
    elif refused is None and status & GlucoseStatus.TOO_LOW:
        refused = "below what the meter can measure"
    if refused is not None or packet.concentration is None:
        value = _Value(Code.GLUCOSE, None, refused=refused or "no measurement")
    else:
        # kg/L to mmol/L: 1 kg/L = 100,000 mg/dL
        factor = 1000.0 if packet.unit == "mol/L" else 1e5 / MG_DL_PER_MMOL_L
        value = _within(Code.GLUCOSE, packet.concentration, factor, 0.5, 60, None)
    offset = packet.time_offset_min
    minutes = offset if isinstance(offset, int) else 0
    sure = not isinstance(offset, glucose.OffsetLimit) and not status & GlucoseStatus.TIME_FAULT
    return _spots((value,), _taken(packet.base_time, heard, clock_set=sure, minutes=minutes), heard)


_SENSOR_FAULTS = (  # CGMS 1.0, 3.1.1.4: sensor status annunciation, status octet
    (0x01, "sensor session stopped"),
    (0x04, "wrong kind of sensor"),
    (0x08 | 0x20, "sensor fault"),
)


def _cgm(payload: bytes, heard: Heard) -> Iterator[Spot]:
    for record in glucose.decode_cgm(payload).records:
        status = record.status_octet or 0
        refused = _flagged(status, _SENSOR_FAULTS)
        value = _within(Code.GLUCOSE, record.glucose_mgdl, 1 / MG_DL_PER_MMOL_L, 0.5, 60, None)
        if refused is not None:
            value = _Value(Code.GLUCOSE, None, refused=refused)
        yield from _spots((value,), _minute(record.time_offset_min, heard), heard)


def _minute(offset_min: int, heard: Heard) -> _Taken:
    """When a sensor's minute was: by its status, which said what minute it is now; no clock has to be believed."""
    if heard.session_us is None:
        return _taken(None, heard)
    return _Taken(min(heard.session_us + offset_min * 60 * US_PER_S, heard.now_us))


def _oximeter(payload: bytes, heard: Heard) -> Iterator[Spot]:
    packet = plx.decode_spot_check(payload)
    measured = packet.measurement_status or 0
    refused = None
    if measured & (plx.MeasurementStatus.DEMONSTRATION | plx.MeasurementStatus.TEST):
        refused = "demonstration or test data"
    elif measured & (plx.MeasurementStatus.INVALID | plx.MeasurementStatus.UNAVAILABLE):
        refused = "measurement invalid"
    doubt = "measurement questionable" if measured & plx.MeasurementStatus.QUESTIONABLE else None
    values = (
        _within(Code.SPO2, packet.spo2, 1.0, 1, 100, doubt),
        _within(Code.PULSE_RATE, packet.pulse_rate, 1.0, 1, 350, doubt),
    )
    if refused is not None:
        values = (_Value(Code.SPO2, None, refused=refused), _Value(Code.PULSE_RATE, None, refused=refused))
    return _spots(values, _taken(packet.timestamp, heard, clock_set=not packet.device_clock_not_set), heard)


_DECODERS: dict[str, Callable[[bytes, Heard], Iterator[Spot]]] = {
    blood_pressure.MEASUREMENT: _pressure,
    thermometer.TEMPERATURE: _temperature,
    glucose.MEASUREMENT: _glucose,
    glucose.CGM_MEASUREMENT: _cgm,
    weight.WEIGHT: _weight,
    plx.SPOT_CHECK: _oximeter,
}
