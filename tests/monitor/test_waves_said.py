"""Intervals and ST of a live stream: said when they change, withheld with a reason, never the end of monitoring."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.monitor.monitor_helpers import StubJudge, block, blocks, monitor, run, stream, toy_counts

from bedside.core.codes import FACTS, Code
from bedside.core.events import Beat, Event, Numeric
from bedside.core.samples import Validity
from bedside.monitor.delineation import CHANGE, WaveNumbers, WaveWatch
from bedside.monitor.lead import Lead
from bedside.signal.delineation import Delineator, WaveInput, WaveState, WaveSummary
from bedside.signal.intervals import Measures, corrected

pytestmark = pytest.mark.requirement("SIG-007")


def said(events: Sequence[Event], code: Code) -> list[Numeric]:
    return [event for event in events if isinstance(event, Numeric) and event.code is code]


def summary(at: int, qt_s: float = 0.40, rr_s: float = 0.8, st_mv: float = 0.05) -> WaveSummary:
    measures = Measures(pr_s=0.16, qrs_s=0.09, qt_s=qt_s, st60_mv=0.11, st80_mv=st_mv)
    return WaveSummary(at, 12, None, measures, corrected(qt_s, rr_s), 0.0, 1.0, 0.01)


def test_a_live_stream_says_the_intervals_of_its_heart() -> None:
    output = run(monitor(), blocks(stream(360.0), toy_counts()[: 360 * 90], 180))
    for code, low, high in (
        (Code.PR_INTERVAL, 100, 180),
        (Code.QRS_DURATION, 60, 110),
        (Code.QT_INTERVAL, 300, 400),
        (Code.QTC_FRIDERICIA, 380, 450),
    ):
        numbers = said(output.events, code)
        spoken = [one.value for one in numbers if one.value is not None]
        assert len(spoken) >= 3
        assert all(low < value < high for value in spoken)
        assert all((one.value is None) is (one.validity is Validity.REJECTED) for one in numbers)
        assert all(one.reason for one in numbers if one.value is None)
        assert {one.unit for one in numbers} == {"ms"}


def test_a_number_is_known_no_earlier_than_what_it_is_made_of() -> None:
    output = run(monitor(), blocks(stream(360.0), toy_counts()[: 360 * 40], 180))
    for event, known_us in zip(output.events, output.known_us, strict=True):
        if isinstance(event, Numeric) and event.code is Code.QRS_DURATION:
            assert 0 <= known_us - event.start_us <= 5_000_000


def test_electrodes_that_are_off_leave_no_interval() -> None:
    lead = Lead(360.0, StubJudge(), _no_stage)
    lead.on_skin = False
    counts = toy_counts()[: 360 * 40] * 0.001
    found = [one for k in range(0, counts.size, 180) for one in lead.feed(np.asarray(counts[k : k + 180], np.float64))]
    summaries = [one for each in found for one in each.waves]
    assert len(summaries) >= 3
    assert {one.reason for one in summaries} == {"rejected"}


def test_what_does_not_change_is_said_once_in_half_a_minute() -> None:
    numbers = WaveNumbers()
    counts = [len(numbers.news(summary(at))) for at in range(2500, 2500 * 13, 2500)]
    assert counts == [len(CHANGE), 0, 0] * 4
    assert all(FACTS[code].max_age_s > 30.0 + 10.0 for code in CHANGE)


def test_a_change_is_said_at_once_and_a_number_lost_too() -> None:
    numbers = WaveNumbers()
    numbers.news(summary(2500))
    changed = {code for code, _, _ in numbers.news(summary(5000, qt_s=0.43))}
    assert changed == {Code.QT_INTERVAL, Code.QTC_FRIDERICIA}
    lost = numbers.news(WaveSummary(7500, 0, "rejected", Measures(), None, None, None, None))
    assert {(value, reason) for _, value, reason in lost} == {(None, "rejected")}
    assert len(lost) == len(CHANGE)


def test_st_is_read_earlier_in_a_fast_heart() -> None:
    slow = {code: value for code, value, _ in WaveNumbers().news(summary(2500))}
    fast = {code: value for code, value, _ in WaveNumbers().news(summary(2500, qt_s=0.26, rr_s=0.45))}
    assert (slow[Code.ST_LEVEL], fast[Code.ST_LEVEL]) == (0.05, 0.11)


@dataclass(frozen=True, eq=False)
class _Broken(Delineator):
    def step(self, state: WaveState, new: WaveInput) -> tuple[WaveState, Any]:
        raise ZeroDivisionError("broken")


def test_a_delineator_that_fails_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = WaveWatch(_Broken())
    empty = WaveInput(np.zeros(100), 0, (), 0)
    with caplog.at_level(logging.ERROR):
        said_ = [one.reason for _ in range(30) for one in watch.take(empty)]
    assert said_ == ["failed"]


def test_beats_go_on_when_the_delineator_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedside.monitor.delineation.Delineator", _Broken)
    info, counts = stream(360.0), toy_counts()[: 360 * 30]
    output = run(monitor(), [block(info, counts, 0)])
    assert len([event for event in output.events if isinstance(event, Beat)]) > 30
    assert {one.reason for one in said(output.events, Code.QT_INTERVAL)} == {"failed"}


def _no_stage(_name: str) -> Any:
    from contextlib import nullcontext

    return nullcontext()
