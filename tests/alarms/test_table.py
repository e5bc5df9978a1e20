"""The table of conditions: what it promises, and what it refuses to be."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from bedside.alarms.hearing import RHYTHM_KINDS
from bedside.alarms.table import default_table, limits, parse_table
from bedside.core.codes import Code
from bedside.core.events import AlarmClass, Priority

pytestmark = pytest.mark.requirement("ALM-004")

TEXT = resources.files("bedside.alarms").joinpath("conditions.toml").read_text("utf-8")
TABLE = default_table()


def test_lethal_conditions_are_high_latch_and_can_be_turned_off_by_nobody() -> None:
    for kind in ("asystole", "ventricular_fibrillation", "ventricular_tachycardia", "desaturation"):
        row = TABLE[kind]
        assert (row.priority, row.latching, row.can_be_off, row.delay_s) == (Priority.HIGH, True, False, 0.0), kind


@pytest.mark.parametrize(
    ("kind", "trigger", "number"),
    [
        ("asystole", "limit_s", 4.0),
        ("ventricular_tachycardia", "beats", 5),
        ("ventricular_tachycardia", "rate_bpm", 100.0),
        ("extreme_tachycardia", "rate_bpm", 140.0),
        ("extreme_tachycardia", "beats", 17),
        ("extreme_bradycardia", "rate_bpm", 40.0),
        ("extreme_bradycardia", "beats", 5),
        ("tachycardia", "limit_bpm", 120.0),
        ("bradycardia", "limit_bpm", 50.0),
        ("spo2_low", "limit_pct", 90.0),
        ("desaturation", "limit_pct", 80.0),
        ("atrial_fibrillation", "limit_s", 30.0),
    ],
)
def test_adult_defaults_are_those_of_their_sources(kind: str, trigger: str, number: float) -> None:
    assert TABLE[kind].trigger[trigger] == number
    assert TABLE[kind].source


def test_technical_conditions_never_latch_but_those_that_somebody_must_have_seen() -> None:
    latching = {
        row.kind for row in TABLE.conditions.values() if row.alarm_class is AlarmClass.TECHNICAL and row.latching
    }
    assert latching == {"patient_session_failed", "monitoring_interrupted", "standby_ended"}


def test_every_condition_has_a_source_and_a_sentence_without_holes_for_unknown_numbers() -> None:
    for row in TABLE.conditions.values():
        assert row.source, row.kind
        sentence = row.sentence({})
        assert "{" not in sentence
        assert re.search("[A-Za-z]{2}", sentence)


def test_every_rhythm_that_alarms_is_in_the_table() -> None:
    assert set(RHYTHM_KINDS.values()) <= set(TABLE.conditions)


def test_limits_for_the_screen_are_those_that_alarm() -> None:
    assert limits()[Code.HEART_RATE] == (50.0, 120.0)
    assert limits()[Code.SPO2] == (90.0, None)


def test_a_sentence_shows_a_question_mark_where_a_number_is_missing_or_odd() -> None:
    row = TABLE["asystole"]
    assert row.sentence({"silent_s": None, "limit_s": 4.0}) == "Asystole: no heart beat for ? s (limit 4 s)"
    assert "many" in row.sentence({"silent_s": "many", "limit_s": 4.0})


@pytest.mark.parametrize(
    ("pattern", "replacement", "complaint"),
    [
        (r'version = ".*"\n', "", "is missing"),
        (r'\[asystole\]\nclass = "physiological"', '[asystole]\nclass = "imaginary"', "asystole"),
        (r'priority = "high"', 'priority = "urgent"', "asystole"),
        (r"delay_s = 10.0", "delay_s = -1.0", "spo2_low: a duration below 0"),
        (r"clear_s = 10.0", "cleared_s = 10.0", "unexpected keyword"),
        (r"limit_pct = 80.0", "limit_pct = 95.0", "desaturation limit is above"),
        (r"limit_bpm = 50.0", "limit_bpm = 130.0", "not in order"),
        (r'after_s = 60.0, priority = "medium"', 'after_s = 600.0, priority = "medium"', "must rise"),
        (r'held_by = \["lead_off", "link_lost"\]', 'held_by = ["lead_of"]', "unknown"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_and_the_error_says_where(
    pattern: str, replacement: str, complaint: str
) -> None:
    broken, n = re.subn(pattern, replacement, TEXT, count=1)
    assert n == 1
    with pytest.raises(ValueError, match=complaint):
        parse_table(broken)
