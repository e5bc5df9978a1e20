"""What was recorded of a patient as a FHIR bundle (R4, by the R4B models): Patient, Devices, Observations, Flags.

Waves and numbers that come each second are `SampledData` with "E" where nothing was seen or a number was withheld:
a receiver that draws them draws the holes too. Spot measurements are Observations of their own, blood pressure as its
panel. Rhythm episodes are Observations with a period, alarms are Flags. Codes: LOINC, IEEE 11073-10101 (numeric, as
the FHIR code system asks) and UCUM. The patient is named by her surrogate id alone. Sources: HL7 FHIR R4 4.0.1,
Observation, SampledData and the vital signs profile. Pure: events and samples in, JSON out.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from bedside.core.codes import FACTS, Code
from bedside.core.events import Alarm, AlarmState, Event, Numeric, Rhythm
from bedside.core.samples import MISSING, Validity
from bedside.core.time import US_PER_S, iso_utc
from bedside.records.excerpt import Segment

LOINC = "http://loinc.org"
MDC = "urn:iso:std:iso:11073:10101"
UCUM = "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
OURS = "urn:bedside"
CONTINUOUS_S = 2.0  # numbers that come at least so often are one series
SERIES_MIN = 3

_PARTITION = 2 << 16  # of the nomenclature: metrics (SCADA). A context-free code is partition and term.
_TERMS = {  # ISO/IEEE 11073-10101, Annex A
    Code.HEART_RATE: 16770,
    Code.PULSE_RATE: 18458,
    Code.SPO2: 19384,
    Code.PERFUSION_INDEX: 19376,
    Code.RESPIRATION_RATE: 20490,
    Code.TEMPERATURE: 19292,
    Code.NIBP_SYSTOLIC: 18949,
    Code.NIBP_DIASTOLIC: 18950,
    Code.NIBP_MEAN: 18951,
    Code.GLUCOSE: 28948,
    Code.WEIGHT: 57664,
}
_LEAD_TERMS = {  # MDC_ECG_ELEC_POTL (256) and its leads
    "I": 257,
    "II": 258,
    "MLII": 258,
    "III": 317,
    "AVR": 318,
    "AVL": 319,
    "AVF": 320,
    **{f"V{number}": 258 + number for number in range(1, 7)},
}
_ALSO_LOINC = {Code.SPO2: ("2708-6",)}  # the R4 profile of oxygen saturation asks for it beside the method's code
_PRESSURES = (Code.NIBP_SYSTOLIC, Code.NIBP_DIASTOLIC, Code.NIBP_MEAN)
_NO_VITAL_SIGN = frozenset({Code.BATTERY})

Resource: TypeAlias = dict[str, Any]


def bundle_json(patient: str, segments: Sequence[Segment], events: Sequence[Event], *, made_us: int) -> str:
    """The bundle, checked against FHIR's own models. `events`: the newest word of each, in order of time."""
    from fhir.resources.R4B.bundle import Bundle

    resources = [
        {"resourceType": "Patient", "id": patient, "identifier": [{"system": OURS, "value": patient}]},
        *_devices(segments, events),
        *(_wave(patient, one) for one in segments),
        *_numbers(patient, [one for one in events if isinstance(one, Numeric) and one.code not in _NO_VITAL_SIGN]),
        *(_rhythm(patient, one) for one in events if isinstance(one, Rhythm)),
        *(_flag(patient, one) for one in events if isinstance(one, Alarm)),
    ]
    bundle = Bundle.model_validate(
        {
            "resourceType": "Bundle",
            "type": "collection",
            "timestamp": iso_utc(made_us),
            "entry": [{"fullUrl": _url(one["resourceType"], one["id"]), "resource": one} for one in resources],
        }
    )
    return str(bundle.model_dump_json())


def _url(kind: str, name: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}/{name}").urn


def _refer(kind: str, name: str) -> dict[str, str]:
    return {"reference": _url(kind, name)}


def _devices(segments: Sequence[Segment], events: Sequence[Event]) -> Iterator[Resource]:
    names = {one.stream.wearable for one in segments}
    names |= {one.source for one in events if isinstance(one, Numeric) and one.stream is None}
    for name in sorted(names):
        yield {"resourceType": "Device", "id": name, "identifier": [{"system": OURS, "value": name}]}


def _code(code: Code) -> dict[str, Any]:
    facts, codings = FACTS[code], []
    if facts.loinc is not None:
        codings += [{"system": LOINC, "code": name} for name in (facts.loinc, *_ALSO_LOINC.get(code, ()))]
    if code in _TERMS:
        codings.append({"system": MDC, "code": str(_PARTITION + _TERMS[code]), "display": str(code)})
    if not codings:
        codings.append({"system": OURS, "code": str(code)})
    return {"coding": codings, "text": facts.label}


def _observation(name: str, patient: str, code: dict[str, Any], category: str) -> Resource:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": category}]}],
        "code": code,
        "subject": _refer("Patient", patient),
    }


def _quantity(value: float, code: Code) -> dict[str, Any]:
    return {"value": value, "unit": FACTS[code].unit, "system": UCUM, "code": FACTS[code].unit}


def _wave(patient: str, one: Segment) -> Resource:
    """A stretch of a stream: counts, their factor, and "E" where a sample is missing."""
    lead = _PARTITION + _LEAD_TERMS.get(one.stream.label.upper(), 256)
    is_ecg = str(one.stream.kind) == "ecg"
    coding = {"system": MDC, "code": str(lead)} if is_ecg else {"system": OURS, "code": str(one.stream.kind)}
    name = uuid.uuid5(uuid.NAMESPACE_OID, f"{one.stream.id} {one.start_us}").hex
    resource = _observation(
        name, patient, {"coding": [coding], "text": f"{one.stream.kind} {one.stream.label}"}, "procedure"
    )
    known = one.counts[one.counts != MISSING]
    return resource | {
        "effectivePeriod": {"start": iso_utc(one.start_us), "end": iso_utc(one.end_us)},
        "device": _refer("Device", one.stream.wearable),
        "valueSampledData": {
            "origin": {"value": 0, "unit": one.stream.unit, "system": UCUM, "code": one.stream.unit},
            "period": 1000.0 / one.rate_hz,
            "factor": one.stream.unit_per_count,
            "lowerLimit": int(known.min()) if known.size else 0,
            "upperLimit": int(known.max()) if known.size else 0,
            "dimensions": 1,
            "data": " ".join("E" if count == MISSING else str(count) for count in one.counts.tolist()),
        },
    }


def _numbers(patient: str, numerics: Sequence[Numeric]) -> Iterator[Resource]:
    series: dict[tuple[Code, str], list[Numeric]] = {}
    for one in sorted(numerics, key=lambda one: one.start_us):
        series.setdefault((one.code, one.source), []).append(one)
    pressures: dict[tuple[int, str], list[Numeric]] = {}
    for (code, source), values in series.items():
        if code in _PRESSURES:
            for one in values:
                pressures.setdefault((one.start_us, source), []).append(one)
        elif len(values) >= SERIES_MIN and _spacing_s(values) <= CONTINUOUS_S:
            yield _series(patient, code, values)
        else:
            yield from (_single(patient, one) for one in values)
    for together in pressures.values():
        yield _pressure(patient, together)


def _spacing_s(values: Sequence[Numeric]) -> float:
    return float(np.median(np.diff([one.start_us for one in values]))) / US_PER_S


def _shown(one: Numeric) -> bool:
    return one.value is not None and one.validity is not Validity.REJECTED


def _series(patient: str, code: Code, values: Sequence[Numeric]) -> Resource:
    """Numbers of each second on a grid of seconds; "E" where none came or it was withheld."""
    first_us = values[0].start_us
    slots: list[str] = []
    for one in values:
        place = round((one.start_us - first_us) / US_PER_S)
        slots += ["E"] * (place + 1 - len(slots))
        slots[place] = f"{one.value:g}" if _shown(one) else "E"
    resource = _observation(values[0].id, patient, _code(code), "vital-signs")
    return resource | {
        "effectivePeriod": {"start": iso_utc(first_us), "end": iso_utc(first_us + len(slots) * US_PER_S)},
        "valueSampledData": {
            "origin": _quantity(0, code),
            "period": 1000.0,
            "dimensions": 1,
            "data": " ".join(slots),
        },
    }


def _value(one: Numeric) -> Resource:
    if _shown(one):
        return {"valueQuantity": _quantity(float(one.value or 0.0), one.code)}
    coding = {"system": ABSENT, "code": "not-performed" if one.reason == "no measurement" else "error"}
    return {"dataAbsentReason": {"coding": [coding], "text": one.reason or "withheld"}}


def _single(patient: str, one: Numeric) -> Resource:
    resource = _observation(one.id, patient, _code(one.code), "vital-signs") | _value(one)
    resource["effectiveDateTime"] = iso_utc(one.start_us)
    if one.validity is Validity.QUESTIONABLE:
        resource["note"] = [{"text": f"questionable: {one.reason}"}]
    if one.stream is None:
        resource["device"] = _refer("Device", one.source)
    return resource


def _pressure(patient: str, values: Sequence[Numeric]) -> Resource:
    panel = {"coding": [{"system": LOINC, "code": "85354-9"}], "text": "Blood pressure"}
    first = values[0]
    resource = _observation(first.id, patient, panel, "vital-signs")
    resource["effectiveDateTime"] = iso_utc(first.start_us)
    resource["component"] = [{"code": _code(one.code)} | _value(one) for one in values]
    if first.stream is None:
        resource["device"] = _refer("Device", first.source)
    if first.validity is Validity.QUESTIONABLE:
        resource["note"] = [{"text": f"questionable: {first.reason}"}]
    return resource


def _rhythm(patient: str, one: Rhythm) -> Resource:
    rhythm = {"coding": [{"system": LOINC, "code": "8884-9"}], "text": "Heart rate rhythm"}
    resource = _observation(one.id, patient, rhythm, "procedure")
    resource["effectivePeriod"] = {"start": iso_utc(one.start_us)}
    if one.end_us is not None:
        resource["effectivePeriod"]["end"] = iso_utc(one.end_us)
    resource["valueCodeableConcept"] = {"coding": [{"system": OURS, "code": str(one.label)}]}
    return resource


def _flag(patient: str, one: Alarm) -> Resource:
    period = {"start": iso_utc(one.start_us)}
    if one.end_us is not None:
        period["end"] = iso_utc(max(one.end_us, one.start_us))
    return {
        "resourceType": "Flag",
        "id": one.id,
        "status": "inactive" if one.end_us is not None or one.state is AlarmState.ENDED else "active",
        "category": [{"text": f"{one.alarm_class} alarm, {one.priority} priority"}],
        "code": {"coding": [{"system": OURS, "code": one.kind}], "text": one.text},
        "subject": _refer("Patient", patient),
        "period": period,
    }
