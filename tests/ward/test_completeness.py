"""How much of the ECG is here: silence counts as missing, whether or not anybody declared it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.core.codes import StreamKind
from bedside.core.events import StreamGap
from bedside.core.ports import Patient
from bedside.core.samples import Block, StreamInfo
from bedside.core.time import US_PER_S
from bedside.ward.completeness import HOUR_US, HOURS, SETTLE_US, Completeness
from bedside.ward.view import PatientBoard

pytestmark = pytest.mark.requirement("BLE-002")

T0_US = 1_780_000_000_000_000 // HOUR_US * HOUR_US


def block(start_s: float, seconds: float, stream: str = "s", kind: StreamKind = StreamKind.ECG) -> Block:
    info = StreamInfo(
        id=stream, patient="p", wearable="w", kind=kind, label="I", rate_hz=100.0, unit="mV", unit_per_count=0.001,
        simulated=True,
    )  # fmt: skip
    counts = np.zeros(round(seconds * 100), dtype=np.int32)
    return Block(
        stream=info, first_index=round(start_s * 100), start_us=T0_US + round(start_s * US_PER_S), rate_hz=100.0,
        counts=counts,
    )  # fmt: skip


def at(seconds: float) -> int:
    return T0_US + round(seconds * US_PER_S)


def test_a_whole_hour_is_whole_and_a_silent_one_is_empty_before_anybody_declares_it() -> None:
    one = Completeness()
    one.view(at(0))
    for second in range(0, 3600, 10):
        one.block(block(second, 10))
    view = one.view(at(3600 + 1805))
    assert [hour["share"] for hour in view["hours"]] == [1.0, 0.0]
    assert view["share"] == pytest.approx(3600 / 5400, abs=1e-3) and view["missing_s"] == 1800.0
    assert [hour["lost_s"] for hour in view["hours"]] == [{}, {}]


def test_a_gap_across_the_hour_is_split_by_cause() -> None:
    one = Completeness()
    one.block(block(0, 3000))
    one.gap("link_lost", at(3000), at(4000))
    one.gap("packets_lost", at(3000), at(3001))
    hours = one.view(at(4000))["hours"]
    assert [hour["lost_s"] for hour in hours] == [{"link_lost": 600.0, "packets_lost": 1.0}, {"link_lost": 400.0}]
    assert hours[0]["share"] == pytest.approx(3000 / 3600, abs=1e-3)


def test_of_two_leads_the_better_one_counts_and_an_hour_is_never_more_than_whole() -> None:
    one = Completeness()
    one.view(at(0))
    for second in range(0, 600, 10):
        one.block(block(second, 10, "good"))
        one.block(block(second, 10, "good"))  # said twice: not more than the hour
        one.block(block(second, 5, "bad"))
    assert one.view(at(600))["hours"][0]["share"] == 1.0


@given(st.lists(st.tuples(st.floats(0, 86_400 * 3), st.floats(0.1, 8000)), max_size=40))
def test_any_order_of_blocks_stays_bounded_and_between_none_and_all(spans: list[tuple[float, float]]) -> None:
    one = Completeness()
    for start_s, seconds in spans:
        one.gap("link_lost", at(start_s), at(start_s + seconds))
        one.block(block(start_s, min(seconds, 60)))
    view = one.view(at(86_400 * 3))
    assert len(view["hours"]) <= HOURS and len(one._lost) <= HOURS + 1
    assert all(hour["share"] is None or 0 <= hour["share"] <= 1 for hour in view["hours"])


def test_the_patients_view_has_it_once_there_was_an_ecg() -> None:
    board = PatientBoard(Patient(id="p", name="A", bed="1", simulated=True), {"w": "Strap"}, {})
    assert "completeness" not in board.view([], at(0), None)
    board.samples(block(0, 60, "pleth", StreamKind.PLETH))
    assert "completeness" not in board.view([], at(60), None)
    board.samples(block(60, 60))
    board.event(
        StreamGap(
            id="g", patient="p", stream="s", start_us=at(120), end_us=at(150), index=12_000, n_samples=3000,
            cause="link_lost",
        )
    )  # fmt: skip
    view = board.view([], at(180) + SETTLE_US, None)["completeness"]
    assert view["hours"][-1]["lost_s"] == {"link_lost": 30.0}
    assert view["share"] == pytest.approx(60 / 180, abs=1e-3)
