"""A scripted hour of the ward on the virtual clock: which alarms come when, what is stored, what the operator holds.

Two runs with one seed are alike to the byte (ids, events, samples); they run side by side in two processes.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from scripted_hour import Happened, Hour, Raised, play

pytestmark = pytest.mark.requirement("ALM-005", "SIM-001")

HOUR_S = 3700.0  # an hour and what is needed to see its statement answered
FAST_DISK = Path("/dev/shm")

# what happens -> alarms that must come, within so many seconds of its onset
MUST_COME: dict[str, dict[str, float]] = {
    "ventricular_tachycardia": {"ventricular_tachycardia": 10.0},
    "asystole": {"asystole": 10.0},
    "lead_off": {"lead_off": 5.0},
    "radio_off": {"link_lost": 10.0},
    "desaturation": {"spo2_low": 40.0, "desaturation": 40.0},
    "atrial_fibrillation": {"atrial_fibrillation": 75.0},
}
LINGERS_S = 30.0  # an alarm that comes so soon after its happening belongs to it


@pytest.fixture(scope="module")
def hours() -> Iterator[tuple[Hour, Hour]]:
    parent = FAST_DISK if FAST_DISK.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=parent) as folder,
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        runs = [pool.submit(play, Path(folder) / name, HOUR_S, 1) for name in ("a", "b")]
        yield runs[0].result(), runs[1].result()


def answers(hour: Hour, one: Happened, kind: str, within_s: float) -> list[Raised]:
    """The alarms of a kind that one happening raised in time."""
    return [
        alarm
        for alarm in hour.raised
        if alarm.patient == one.patient and alarm.kind == kind and one.start_s <= alarm.at_s <= one.start_s + within_s
    ]


@pytest.mark.timeout(1200)
def test_everything_in_the_script_is_alarmed_in_its_time(hours: tuple[Hour, Hour]) -> None:
    hour, checked = hours[0], 0
    for one in hour.happened:
        for kind, within_s in MUST_COME.get(one.what, {}).items():
            if one.start_s + within_s > HOUR_S:
                continue
            assert answers(hour, one, kind, within_s), f"{one} raised no {kind} within {within_s} s"
            checked += 1
    assert checked >= 30


def test_a_slow_and_a_fast_heart_are_alarmed(hours: tuple[Hour, Hour]) -> None:
    kinds = {alarm.kind for alarm in hours[0].raised}
    assert {"extreme_bradycardia", "tachycardia"} <= kinds


def test_no_high_priority_alarm_comes_without_a_cause_in_the_script(hours: tuple[Hour, Hour]) -> None:
    hour = hours[0]
    causes = {
        patient: [one for one in hour.happened if one.patient == patient]
        for patient in {a.patient for a in hour.raised}
    }
    for alarm in hour.raised:
        if alarm.priority == "high" and "simulated" in alarm.patient:
            assert any(one.start_s <= alarm.at_s <= one.end_s + LINGERS_S for one in causes[alarm.patient]), alarm


def test_the_first_minute_shows_an_alarm_and_three_minutes_show_all_kinds(hours: tuple[Hour, Hour]) -> None:
    raised = hours[0].raised
    assert raised[0].at_s < 60
    assert {"ventricular_tachycardia", "atrial_fibrillation", "lead_off", "desaturation"} <= {
        alarm.kind for alarm in raised if alarm.at_s < 180
    }


def test_every_sample_is_stored_or_declared_missing(hours: tuple[Hour, Hour]) -> None:
    for patient, (sent, stored, missing) in hours[0].samples.items():
        if "Dora" in patient:  # out of range at times, a tenth of the packets lost at others
            assert missing > 0
            assert stored <= sent
        else:
            assert (stored, missing) == (sent, 0), patient


def test_simulated_patients_are_labelled_in_every_event(hours: tuple[Hour, Hour]) -> None:
    assert {name: labels for name, labels in hours[0].simulated.items() if labels[1] is not True} == {}
    assert [labels[0] for labels in hours[0].simulated.values()] == [False, True, True, True]


def test_the_operator_holds_a_statement_an_hour_and_an_envelope_every_ten_seconds(hours: tuple[Hour, Hour]) -> None:
    hour = hours[0]
    assert (hour.statements_verified, hour.statements_refused) == (2, 0)
    assert hour.envelopes == HOUR_S // 10
    assert hour.envelopes_missing == 0


def test_the_same_seed_gives_the_same_hour_to_the_byte(hours: tuple[Hour, Hour]) -> None:
    assert hours[0].digest == hours[1].digest
    assert hours[0].raised == hours[1].raised
