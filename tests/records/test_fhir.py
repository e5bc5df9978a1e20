"""A FHIR bundle says what was recorded: samples with their holes, numbers with their doubts, nobody's name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fhir.resources.R4B.bundle import Bundle
from tests.records.records_world import T0_US, alarm, beat, ids, numeric, opened, patient, rhythm, second, stream

from bedside.core.codes import Code
from bedside.core.events import AlarmState, Event, Numeric
from bedside.core.ports import Batch
from bedside.core.samples import MISSING, Validity
from bedside.records import fhir
from bedside.records.cli import records
from bedside.records.excerpt import segments_of
from bedside.records.fhir import bundle_json

pytestmark = pytest.mark.requirement("REC-006")

ADA = patient("Ada Secret", "Bed 9")
LEAD = stream(ADA)


def resources(text: str, kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in json.loads(text)["entry"] if entry["resource"]["resourceType"] == kind]


def spot(code: Code, value: float | None, at_s: float, **changes: Any) -> Numeric:
    plain = numeric(ADA, T0_US + round(at_s * 1e6), 1.0)
    return replace(plain, id=ids.event(), code=code, value=value, unit="", stream=None, source="cuff", **changes)


def bundle(*events: Event, seconds: range = range(10), holes: range = range(0)) -> str:
    blocks = [second(LEAD, at_s) for at_s in seconds if at_s not in holes]
    segments = segments_of(blocks, T0_US, T0_US + 3_600_000_000)
    return bundle_json(ADA.id, segments, events, made_us=T0_US)


def test_a_lead_comes_back_sample_by_sample_and_its_hole_as_e() -> None:
    text = bundle(seconds=range(10), holes=range(4, 6))
    Bundle.model_validate_json(text)
    (wave,) = resources(text, "Observation")
    data = wave["valueSampledData"]
    found = np.array([MISSING if one == "E" else int(one) for one in data["data"].split()], np.int64)
    wanted = np.full(10 * 130, MISSING, np.int64)
    for at_s in range(10):
        if at_s not in (4, 5):
            wanted[at_s * 130 : (at_s + 1) * 130] = second(LEAD, at_s).counts
    assert np.array_equal(found, wanted)
    assert float(data["period"]) == pytest.approx(1000 / 130) and float(data["factor"]) == 0.001
    assert data["origin"]["code"] == "mV"
    assert wave["code"]["coding"][0] == {"system": "urn:iso:std:iso:11073:10101", "code": "131330"}
    assert wave["effectivePeriod"] == {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:10Z"}


def test_numbers_of_each_second_are_one_series_in_which_a_withheld_one_is_e() -> None:
    values = [numeric(ADA, T0_US + at_s * 1_000_000, 70.0 + at_s) for at_s in range(8) if at_s != 5]
    values[3] = replace(values[3], value=None, validity=Validity.REJECTED, reason="lead_off")
    (series,) = [one for one in resources(bundle(*values), "Observation") if one["code"]["text"] == "HR"]
    assert series["valueSampledData"]["data"] == "70 71 72 E 74 E 76 77"
    assert {one["code"] for one in series["code"]["coding"]} == {"8867-4", "147842"}


def test_a_cuff_measurement_is_one_panel_and_a_doubt_is_written_beside_it() -> None:
    events = [
        spot(Code.NIBP_SYSTOLIC, 128.0, 3, validity=Validity.QUESTIONABLE, reason="cuff too loose"),
        spot(Code.NIBP_DIASTOLIC, 79.0, 3, validity=Validity.QUESTIONABLE, reason="cuff too loose"),
        spot(Code.NIBP_SYSTOLIC, None, 9, validity=Validity.REJECTED, reason="no measurement"),
        spot(Code.NIBP_DIASTOLIC, None, 9, validity=Validity.REJECTED, reason="no measurement"),
    ]
    panels = [one for one in resources(bundle(*events), "Observation") if "component" in one]
    assert [[c.get("valueQuantity", {}).get("value") for c in one["component"]] for one in panels] == [
        [128.0, 79.0],
        [None, None],
    ]
    assert panels[0]["note"] == [{"text": "questionable: cuff too loose"}]
    assert all("dataAbsentReason" in c for c in panels[1]["component"])
    assert len(resources(bundle(*events), "Device")) == 2  # the strap and the cuff


def test_rhythm_and_alarm_carry_their_periods() -> None:
    onset = replace(rhythm(ADA, T0_US + 5_000_000), stream=LEAD.id, index=650, end_us=T0_US + 9_000_000, end_index=1170)
    text = bundle(
        onset, alarm(ADA, T0_US + 2_000_000, AlarmState.ENDED, "a1"), alarm(ADA, T0_US, AlarmState.ACTIVE, "a2")
    )
    (episode,) = [one for one in resources(text, "Observation") if one["code"]["text"] == "Heart rate rhythm"]
    assert episode["effectivePeriod"]["end"] == "2026-01-01T00:00:09Z"
    assert [one["status"] for one in resources(text, "Flag")] == ["inactive", "active"]


def test_the_command_writes_a_bundle_that_tells_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEDSIDE_PASSPHRASE_FILE", raising=False)
    store = opened(tmp_path / "home")
    store.put_patient(ADA)
    store.write(Batch([second(LEAD, 1)], [numeric(ADA, T0_US, 70.0), beat(ADA, LEAD, T0_US + 400_000)]))
    store.close()
    words = ["export", ADA.id, "--from", "2026-01-01T00:00:00", "--to", "2026-01-01T00:01:00", "--format", "fhir"]
    done = CliRunner().invoke(records, [*words, "--out", str(tmp_path / "out"), "--home", str(tmp_path / "home")])
    assert done.exit_code == 0, done.exception
    text = (tmp_path / "out" / "bundle.json").read_text()
    assert ADA.id in text and "Ada" not in text and "Bed 9" not in text
    Bundle.model_validate_json(text)


@pytest.mark.parametrize(
    ("code", "number"),
    [  # context-free codes, as public tables of the nomenclature list them
        (Code.HEART_RATE, 147842),
        (Code.PULSE_RATE, 149530),
        (Code.SPO2, 150456),
        (Code.PERFUSION_INDEX, 150448),
        (Code.RESPIRATION_RATE, 151562),
        (Code.TEMPERATURE, 150364),
        (Code.NIBP_SYSTOLIC, 150021),
        (Code.NIBP_DIASTOLIC, 150022),
        (Code.NIBP_MEAN, 150023),
        (Code.GLUCOSE, 160020),
        (Code.WEIGHT, 188736),
    ],
)
def test_numbers_carry_their_code_of_the_nomenclature(code: Code, number: int) -> None:
    assert [one["code"] for one in fhir._code(code)["coding"] if one["system"] == fhir.MDC] == [str(number)]


def test_every_lead_has_its_own_code() -> None:
    known = {label: fhir._PARTITION + term for label, term in fhir._LEAD_TERMS.items()}
    assert known == {
        "I": 131329, "II": 131330, "MLII": 131330, "III": 131389, "AVR": 131390, "AVL": 131391, "AVF": 131392,
        "V1": 131331, "V2": 131332, "V3": 131333, "V4": 131334, "V5": 131335, "V6": 131336,
    }  # fmt: skip


def test_oxygen_saturation_carries_both_codes_that_profiles_ask_for() -> None:
    codes = [one["code"] for one in fhir._code(Code.SPO2)["coding"] if one["system"] == fhir.LOINC]
    assert codes == ["59408-5", "2708-6"]
