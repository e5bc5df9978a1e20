"""Tachycardias of generated leads, told by the form of their beats alone: no classifier calls any beat ventricular."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.signal.heart_signals import VENTRICULAR, Floats, Shape, lead, normal

from bedside.signal import wide
from bedside.signal.lead import LeadAnalyser
from bedside.signal.rhythm import Episode, JudgedBeat, RhythmAnalyser, RhythmInput, SeenSecond

pytestmark = pytest.mark.requirement("SIG-004")

FS_HZ = 250.0  # the clean lead's own, so that indices are the same
Beats = list[tuple[float, Shape]]

# QRS 150 ms wide with a notched R and no S, T opposite: left bundle branch block in lead I
BLOCKED = Shape(((-0.16, 0.020, 0.12), (-0.030, 0.022, 0.8), (0.030, 0.024, 0.9), (0.28, 0.055, -0.3)))
LEFT_VENTRICULAR = Shape(((-0.02, 0.028, -1.3), (0.06, 0.030, 0.6), (0.28, 0.055, 0.4)))


def at_rate(bpm: float, start_s: float, end_s: float, shape: Shape) -> Beats:
    """Beats of one form, the rate slightly breathing; T nearer at high rates, as in life."""
    beats, at_s, rr_s = [], start_s, 60.0 / bpm
    *others, (centre_s, width_s, height_mv) = shape.waves
    nearer = Shape((*others, (centre_s * min(rr_s / 0.8, 1.0) ** 0.5, width_s, height_mv)))
    while at_s < end_s:
        beats.append((at_s, nearer))
        at_s += rr_s * (1 + 0.02 * np.sin(at_s))
    return beats


def noisy(beats: Beats, duration_s: float, noise_mv: float = 0.02, seed: int = 1) -> Floats:
    clean = lead(beats, duration_s, FS_HZ)
    return np.asarray(clean + noise_mv * np.random.default_rng(seed).standard_normal(clean.size))


def follow(lead_mv: Floats, cuts: Sequence[int] = (), symbol: str = "N") -> list[tuple[float, Episode]]:
    """Episodes, each with the second at which it was said; every beat is classified `symbol`."""
    finder, analyser = LeadAnalyser.design(FS_HZ), RhythmAnalyser()
    state, rhythm = finder.initial(), analyser.initial()
    said = []
    edges = sorted({*cuts, *range(0, lead_mv.size, 100), lead_mv.size})
    for start, end in itertools.pairwise(edges):
        state, output = finder.step(state, lead_mv[start:end])
        rhythm, found = analyser.step(
            rhythm,
            RhythmInput(
                clean_mv=output.clean_mv,
                clean_first=output.clean_first,
                peaks=tuple(peak.clean_index for peak in output.peaks),
                beats=tuple(JudgedBeat(peak.clean_index, symbol) for peak in output.peaks),
                seconds=tuple(SeenSecond(s.first_index, s.n_samples, s.usable, s.reason) for s in output.quality),
                settled=output.settled_index,
                retracted=output.retracted,
            ),
        )
        said += [(end / FS_HZ, episode) for episode in found.episodes]
    return said


def tachycardias(said: Sequence[tuple[float, Episode]]) -> list[tuple[float, Episode]]:
    return [(at_s, episode) for at_s, episode in said if episode.label == "VT"]


@pytest.mark.parametrize("bpm", [105, 130, 170, 220])
@pytest.mark.parametrize("shape", [VENTRICULAR, LEFT_VENTRICULAR], ids=["upright", "downward"])
def test_a_wide_tachycardia_is_told_within_ten_seconds_though_every_beat_is_called_normal(
    bpm: float, shape: Shape
) -> None:
    beats = at_rate(70, 1, 30, normal()) + at_rate(bpm, 30.3, 45, shape) + at_rate(70, 46, 60, normal())
    found = tachycardias(follow(noisy(beats, 60)))
    began_s, began = found[0]
    assert began_s < 30.3 + 5 * 60 / bpm + 2.0
    assert began.onset / FS_HZ == pytest.approx(30.3, abs=1.0)
    assert began.evidence["witness"] == "wide QRS against the patient's own"
    assert (began.evidence["beats"], began.evidence["classified_ventricular"]) == (5, 0)
    assert began.evidence["rate_bpm"] == pytest.approx(bpm, rel=0.06)
    ended = found[-1][1]
    assert ended.end is not None
    assert ended.end / FS_HZ == pytest.approx(45, abs=1.5)
    assert isinstance(ended.evidence["classified_beats"], int)
    assert ended.evidence["classified_beats"] > 5


@pytest.mark.parametrize("bpm", [110, 150, 180, 220])
def test_a_tachycardia_with_the_patients_own_qrs_is_not_ventricular(bpm: float) -> None:
    own = normal()
    without_p = Shape(own.waves[1:])
    beats = at_rate(70, 1, 30, own) + at_rate(bpm, 30.3, 60, without_p) + at_rate(70, 61, 70, own)
    assert not tachycardias(follow(noisy(beats, 70)))


def test_sinus_tachycardia_in_left_bundle_branch_block_is_not_ventricular_and_a_vt_on_top_of_it_is() -> None:
    beats = at_rate(75, 1, 40, BLOCKED) + at_rate(125, 40.5, 80, BLOCKED)
    assert not tachycardias(follow(noisy(beats, 80)))
    beats = at_rate(75, 1, 40, BLOCKED) + at_rate(150, 40.5, 50, LEFT_VENTRICULAR)
    assert tachycardias(follow(noisy(beats, 50)))


@pytest.mark.parametrize("bpm", [130, 170, 200])
def test_a_wide_tachycardia_from_the_first_second_on_is_told_by_its_width_alone(bpm: float) -> None:
    (said_s, began), *_ = tachycardias(follow(noisy(at_rate(bpm, 0.3, 20, VENTRICULAR), 20)))
    assert said_s < 10
    assert began.evidence["witness"] == "wide QRS, the patient's own not known yet"


@pytest.mark.parametrize("bpm", [110, 130, 180])
def test_a_narrow_tachycardia_from_the_first_second_on_is_not_ventricular(bpm: float) -> None:
    assert not tachycardias(follow(noisy(at_rate(bpm, 0.3, 30, normal()), 30)))


def test_a_wide_tachycardia_that_goes_on_never_becomes_what_it_is_held_against(monkeypatch: pytest.MonkeyPatch) -> None:
    """It pauses (a few of the patient's own beats each time), and after two minutes is told as at first."""
    beats = at_rate(70, 1, 30, normal())
    for start_s in (30.3, 95.3, 160.3):
        beats += at_rate(150, start_s, start_s + 60, VENTRICULAR) + at_rate(70, start_s + 61, start_s + 64, normal())
    lead_mv = noisy(beats, 225)

    def onsets() -> list[int]:
        onset_s = {round(episode.onset / FS_HZ) for _, episode in tachycardias(follow(lead_mv))}
        return [sum(abs(onset - start_s) < 3 for onset in onset_s) for start_s in (30.3, 95.3, 160.3)]

    assert onsets() == [1, 1, 1]
    # negative control: were every beat learned, the tachycardia would be the patient's own
    monkeypatch.setattr(wide, "may_learn", lambda rr_s: True)
    assert onsets() != [1, 1, 1]


@pytest.mark.parametrize("seed", [0, 2, 5, 7])
def test_wide_beats_that_do_not_resemble_one_another_are_artefacts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    beats = at_rate(70, 1, 30, normal())
    for at_s, _ in at_rate(140, 30.3, 45, normal()):
        waves = zip(rng.uniform(-0.08, 0.08, 4), rng.uniform(0.02, 0.04, 4), rng.normal(0, 0.9, 4), strict=True)
        beats.append((at_s, Shape(tuple((float(c), float(w), float(h)) for c, w, h in waves))))
    assert not tachycardias(follow(noisy(beats, 45)))
    monkeypatch.setattr(wide, "KIN", -1.0)  # negative control
    assert tachycardias(follow(noisy(beats, 45)))


def test_both_witnesses_make_one_episode_that_names_what_each_saw() -> None:
    beats = at_rate(70, 1, 30, normal()) + at_rate(150, 30.3, 40, VENTRICULAR) + at_rate(70, 41, 50, normal())
    only_form = tachycardias(follow(noisy(beats, 50)))
    both = tachycardias(follow(noisy(beats, 50), symbol="V"))  # here every beat is called ventricular
    assert len({episode.onset for _, episode in both}) == 1
    assert sum(episode.end is not None for _, episode in both) == 1
    last = both[-1][1].evidence
    assert last["classified_ventricular"] == last["classified_beats"]
    assert last["witness"] == only_form[-1][1].evidence["witness"]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 30 * 250), max_size=12))
def test_what_is_found_does_not_depend_on_how_the_stream_is_cut(cuts: list[int]) -> None:
    beats = at_rate(75, 0.5, 16, normal()) + at_rate(160, 16.4, 24, VENTRICULAR) + at_rate(75, 25, 30, normal())
    lead_mv = noisy(beats, 30)
    whole = [episode for _, episode in tachycardias(follow(lead_mv))]
    assert whole
    told = [episode for _, episode in tachycardias(follow(lead_mv, cuts))]
    assert [(one.onset, one.end) for one in told] == [(one.onset, one.end) for one in whole]
    assert [one.evidence["beats"] for one in told] == [one.evidence["beats"] for one in whole]


def test_nothing_is_measured_where_the_lead_was_not_seen_or_shows_no_deflection() -> None:
    assert wide.measure(np.full(200, np.nan), 100, 0.8) is None
    assert wide.measure(0.001 * np.arange(200.0) % 0.1, 100, 0.8) is None
    assert wide.measure(lead([(0.4, normal())], 0.8, FS_HZ), 100, 0.8) is not None
    assert wide.measure(lead([(0.4, normal())], 0.8, FS_HZ), 5, 0.8) is None
