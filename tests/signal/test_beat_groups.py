"""Couplets and runs, counted from judged beats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.signal import patterns
from bedside.signal.patterns import Group

pytestmark = pytest.mark.requirement("SIG-004")


def groups(symbols: str, rr: int = 150, unseen: frozenset[int] = frozenset()) -> list[Group]:
    """Groups of beats `rr` samples apart; the stretch before a beat in `unseen` could not be seen."""
    state: Group | None = None
    found = []
    for k, symbol in enumerate(symbols):
        state, ended = patterns.step(state, 1000 + k * rr, symbol, k not in unseen)
        found += [ended] if ended is not None else []
    return found


def test_a_couplet_and_a_run_are_told_with_number_and_rate() -> None:
    couplet, run = groups("NNVVNNVVVVN", rr=125)
    assert (couplet.kind, couplet.beats, round(couplet.rate_bpm)) == ("couplet", 2, 120)
    assert (run.kind, run.beats, round(run.rate_bpm)) == ("ventricular_run", 4, 120)
    assert run.evidence()["lasted_s"] == pytest.approx(1.5)


@pytest.mark.parametrize("symbols", ["NVNVNVN", "NNN", "NVFVN", "NVSVN"])
def test_single_ectopics_are_no_group(symbols: str) -> None:
    assert groups(symbols) == []


def test_what_was_not_seen_joins_nothing() -> None:
    assert groups("NVVN", unseen=frozenset({2})) == []
    assert len(groups("NVVN")) == 1  # negative control


def test_beats_far_apart_are_no_couplet() -> None:
    assert groups("NVVN", rr=600) == []


@given(st.text(alphabet="NVSFQ", max_size=60))
def test_groups_are_the_stretches_of_ventricular_beats(symbols: str) -> None:
    text = "".join(one if one == "V" else " " for one in symbols + "N")
    assert [one.beats for one in groups(symbols + "N")] == [len(run) for run in text.split() if len(run) > 1]
