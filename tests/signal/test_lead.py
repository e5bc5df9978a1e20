"""The lead analyser: one front door, the same results however the stream is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bedside.signal.lead import LeadAnalyser, LeadOutput


def pulses_mv(seconds: int, fs_hz: float = 130.0) -> NDArray[np.float64]:
    """A beat a second, 1 mV, 20 ms wide, at 0.5, 1.5, ... s."""
    t_s = np.arange(int(seconds * fs_hz)) / fs_hz
    return np.exp(-0.5 * (((t_s % 1.0) - 0.5) / 0.012) ** 2)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 2600), max_size=20))
def test_results_do_not_depend_on_how_the_stream_is_cut(cuts: list[int]) -> None:
    lead_mv = pulses_mv(20)
    design = LeadAnalyser.design(130.0)
    _, whole = design.step(design.initial(), lead_mv)
    state, parts = design.initial(), list[LeadOutput]()
    for block in np.split(lead_mv, sorted(cuts)):
        state, part = design.step(state, block)
        parts.append(part)
    np.testing.assert_array_equal(np.concatenate([p.clean_mv for p in parts]), whole.clean_mv)
    assert tuple(peak for part in parts for peak in part.peaks) == whole.peaks
    assert tuple(second for part in parts for second in part.quality) == whole.quality
    assert len(whole.peaks) >= 18


@pytest.mark.parametrize("fs_hz", [0.0, 99.9, 1000.1, float("nan"), float("inf"), -250.0])
def test_an_absurd_rate_is_refused_by_name(fs_hz: float) -> None:
    with pytest.raises(ValueError, match="fs_hz"):
        LeadAnalyser.design(fs_hz)
