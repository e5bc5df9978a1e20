"""Beats are found where they are, whatever their height, sign, company and rate."""

from __future__ import annotations

import numpy as np
import pytest
from tests.signal.heart_signals import VENTRICULAR, Floats, Shape, lead, missed_and_false, normal, steady

from bedside.signal.beats import BeatFinder
from bedside.signal.evidence import Hump, Memory, Sight
from bedside.signal.lead import LeadAnalyser

pytestmark = pytest.mark.requirement("SIG-002")

RATES_HZ = (100.0, 128.0, 130.0, 250.0, 256.0, 300.0, 360.0, 500.0, 512.0, 1000.0, 129.87, 333.3)


def found_s(lead_mv: Floats, fs_hz: float, design: LeadAnalyser | None = None) -> list[float]:
    """R times that stand once everything was heard."""
    design = design or LeadAnalyser.design(fs_hz)
    state, output = design.step(design.initial(), lead_mv)
    end = design.finish(state)
    standing = [peak.index for peak in (*output.peaks, *end.peaks)]
    for index in (*output.retracted, *end.retracted):
        standing.remove(index)
    return [index / fs_hz for index in standing]


def noise(n: int, rms_mv: float, seed: int = 5) -> Floats:
    return np.random.default_rng(seed).normal(0.0, rms_mv, n)


@pytest.mark.parametrize("fs_hz", RATES_HZ)
def test_every_beat_of_a_steady_heart_is_found_within_a_few_ms_at_any_rate(fs_hz: float) -> None:
    times_s = steady(60.0)
    marks_s = found_s(lead([(at, normal()) for at in times_s], 60.0, fs_hz), fs_hz)
    assert missed_and_false(times_s, marks_s) == (0, 0)
    errors_s = np.array(marks_s) - np.array(times_s)
    assert abs(errors_s.mean()) < 0.003
    assert np.abs(errors_s).max() <= 0.003 + 0.5 / fs_hz + 0.002


def one_of(*shapes: Shape, times_s: list[float]) -> list[tuple[float, Shape]]:
    return [(at, shapes[k % len(shapes)]) for k, at in enumerate(times_s)]


def bigeminy(duration_s: float) -> list[tuple[float, Shape]]:
    beats, at = list[tuple[float, Shape]](), 0.6
    while at < duration_s - 1.8:
        beats += [(at, normal()), (at + 0.5, VENTRICULAR)]
        at += 1.55
    return beats


def with_pauses(duration_s: float) -> list[tuple[float, Shape]]:
    """Sinus rhythm that stops for 2 to 4 s every ten beats; P waves go on through the pauses."""
    beats, at, blocked = list[tuple[float, Shape]](), 0.6, Shape(((-0.16, 0.020, 0.12),))
    while at < duration_s - 6:
        for _ in range(10):
            beats.append((at, normal()))
            at += 0.8
        for _ in range(2 + len(beats) % 3):
            beats.append((at, blocked))
            at += 0.8
    return beats


SCENES = {
    "T waves taller than the QRS": one_of(normal(r_mv=0.9, t_mv=1.2), times_s=steady(90.0)),
    "upside down": one_of(normal(r_mv=-1.0, t_mv=-0.3, p_mv=-0.1), times_s=steady(90.0)),
    "0.3 mV": one_of(normal(r_mv=0.3, t_mv=0.08, p_mv=0.03), times_s=steady(90.0)),
    "5 mV": one_of(normal(r_mv=5.0, t_mv=1.0, p_mv=0.3), times_s=steady(90.0)),
    "bigeminy": bigeminy(90.0),
    "pauses with P waves": with_pauses(90.0),
    "30 per minute": one_of(normal(), times_s=steady(120.0, rate_bpm=30)),
    "180 per minute": one_of(
        Shape(((0.0, 0.010, 1.0), (0.028, 0.010, -0.3), (0.16, 0.03, 0.2))), times_s=steady(60.0, 180, 0.005)
    ),
    "wide beats only": one_of(VENTRICULAR, times_s=steady(90.0)),
    "alternating heights": one_of(normal(r_mv=1.2), normal(r_mv=0.6), times_s=steady(90.0)),
}


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("fs_hz", [130.0, 360.0])
def test_no_beat_is_missed_and_none_invented(name: str, fs_hz: float) -> None:
    beats = SCENES[name]
    duration_s = beats[-1][0] + 1.0
    lead_mv = lead(beats, duration_s, fs_hz)
    lead_mv += noise(lead_mv.size, 0.01)
    truth_s = [at for at, shape in beats if len(shape.waves) > 1]
    missed, false = missed_and_false(truth_s, found_s(lead_mv, fs_hz))
    assert missed <= 1, name  # the very first beats may teach
    assert false <= 1, name


def test_a_finder_whose_evidence_is_turned_round_fails_that_check() -> None:
    beats = SCENES["T waves taller than the QRS"]
    sound = LeadAnalyser.design(130.0)
    broken = LeadAnalyser(
        sound.fs_hz,
        sound.resampler,
        sound.baseline,
        sound.bank,
        BeatFinder(net=sound.finder.net._replace(out=-sound.finder.net.out, base=-sound.finder.net.base)),
    )
    lead_mv = lead(beats, beats[-1][0] + 1.0, 130.0)
    missed, false = missed_and_false([at for at, _ in beats], found_s(lead_mv, 130.0, broken))
    assert missed + false > 10


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_step_of_the_gain_costs_few_beats(factor: float) -> None:
    times_s = steady(120.0)
    lead_mv = lead([(at, normal()) for at in times_s], 120.0, 130.0)
    lead_mv[lead_mv.size // 2 :] *= factor
    missed, false = missed_and_false(times_s, found_s(lead_mv, 130.0))
    assert missed <= 8
    assert false <= 3


def test_noise_of_a_tenth_of_the_qrs_costs_no_beat() -> None:
    times_s = steady(120.0)
    lead_mv = lead([(at, normal()) for at in times_s], 120.0, 250.0)
    lead_mv += noise(lead_mv.size, 0.1) + 0.5 * np.sin(2 * np.pi * 0.2 * np.arange(lead_mv.size) / 250)
    missed, false = missed_and_false(times_s, found_s(lead_mv, 250.0))
    assert missed <= 1
    assert false <= 1


@pytest.mark.parametrize("hum_hz", [50.0, 60.0])
def test_mains_hum_of_half_the_qrs_costs_no_beat(hum_hz: float) -> None:
    times_s = steady(60.0)
    lead_mv = lead([(at, normal()) for at in times_s], 60.0, 250.0)
    lead_mv += 0.5 * np.sin(2 * np.pi * hum_hz * np.arange(lead_mv.size) / 250)
    assert missed_and_false(times_s, found_s(lead_mv, 250.0)) == (0, 0)


def test_a_silent_lead_has_no_beats() -> None:
    assert found_s(noise(130 * 60, 0.004), 130.0) == []


def test_after_the_last_beat_nothing_is_invented_for_ten_seconds() -> None:
    times_s = steady(40.0)
    lead_mv = lead([(at, normal()) for at in times_s], 55.0, 130.0)
    lead_mv += noise(lead_mv.size, 0.01)
    marks_s = found_s(lead_mv, 130.0)
    assert [at for at in marks_s if times_s[-1] + 0.2 < at < times_s[-1] + 10] == []


@pytest.mark.parametrize("fs_hz", [100.0, 130.0, 500.0, 1000.0])
def test_a_beat_is_reported_at_most_600_ms_after_its_r_peak(fs_hz: float) -> None:
    lead_mv = lead(bigeminy(30.0), 30.0, fs_hz)
    design = LeadAnalyser.design(fs_hz)
    state, n_seen, waits_s = design.initial(), 0, list[float]()
    step = 4
    for start in range(0, lead_mv.size, step):
        state, output = design.step(state, lead_mv[start : start + step])
        n_seen = min(start + step, lead_mv.size)
        waits_s += [(n_seen - peak.index - step) / fs_hz for peak in output.peaks]
    assert len(waits_s) > 30
    assert max(waits_s) <= 0.6


def test_no_peak_comes_before_what_was_called_settled() -> None:
    lead_mv = lead(with_pauses(60.0), 60.0, 130.0)
    design = LeadAnalyser.design(130.0)
    state, settled = design.initial(), 0
    for block in np.array_split(lead_mv, 600):
        state, output = design.step(state, block)
        assert all(peak.index >= settled for peak in output.peaks)
        assert output.settled_index >= settled
        settled = output.settled_index
    assert settled > lead_mv.size - 130


@pytest.mark.parametrize("qrs_s", [0.04, 0.08, 0.12])
@pytest.mark.parametrize("fs_hz", [130.0, 250.0])
def test_a_qrs_of_150_microvolts_is_not_counted_and_one_of_300_is(qrs_s: float, fs_hz: float) -> None:
    def triangles(height_mv: float) -> Floats:
        at_s = np.arange(round(40 * fs_hz)) / fs_hz
        tops_s = np.arange(1.03, 39.0, 0.75)
        shapes = np.clip(1 - np.abs(at_s[:, None] - tops_s) / (qrs_s / 2), 0, None)
        return np.asarray(height_mv * shapes.sum(axis=1), dtype=np.float64)

    assert found_s(triangles(0.15), fs_hz) == []
    assert len(found_s(triangles(0.3), fs_hz)) >= 48


class Asked(BeatFinder):
    """Takes every hump for a beat and counts how often it was asked."""

    asked = 0

    def odds(self, sight: Sight, memory: Memory) -> float:
        Asked.asked += 1
        return 8.0


def humps(*tops: tuple[int, float]) -> int:
    """How many of them the finder is asked about, after eight beats of 1 mV."""
    at = np.arange(4000)
    tops = (*((300 + 220 * k, 1.0) for k in range(8)), *tops)
    wave = np.sum([height * np.exp(-0.5 * ((at - top) / 4.0) ** 2) for top, height in tops], axis=0)
    finder, Asked.asked = Asked(), 0
    state = finder.initial()
    for start in range(0, at.size, 50):
        part = wave[start : start + 50]
        state, _ = finder.step(state, part, part, part)
    return Asked.asked - 8


def test_two_tops_of_one_wide_beat_are_weighed_once_and_a_p_wave_and_its_qrs_as_two() -> None:
    assert humps((2060, 0.7), (2085, 0.9)) == 1
    assert humps((2060, 0.7), (2090, 0.9)) == 2


def test_what_is_far_lower_than_a_beat_is_not_weighed_until_a_beat_is_overdue() -> None:
    assert humps((1950, 0.15)) == 0
    assert humps((1950, 0.19)) == 1
    assert humps((2400, 0.15)) == 1


class TallP(BeatFinder):
    """Takes the first of two humps for a beat; the second looks like one, most of all if the first was none."""

    first_logit = 1.0

    def odds(self, sight: Sight, memory: Memory) -> float:
        if sight.hump.at < 310:
            return self.first_logit
        return 2.0 if memory.beats else 5.0


class SureOfTallP(TallP):
    first_logit = 7.0


def two_humps(finder: BeatFinder) -> tuple[list[Hump], list[Hump]]:
    """What is found and taken back with humps at 300 and 345 internal samples (0.18 s apart)."""
    at = np.arange(600)
    wave = sum(np.exp(-0.5 * ((at - top) / 4.0) ** 2) for top in (300, 345))
    state, found, retracted = finder.initial(), list[Hump](), list[Hump]()
    for start in range(0, 600, 50):
        part = wave[start : start + 50]
        state, output = finder.step(state, part, part, part)
        found += output.beats
        retracted += output.retracted
    return found, retracted


def test_an_uncertain_beat_is_taken_back_when_the_next_hump_is_likelier_without_it() -> None:
    found, retracted = two_humps(TallP())
    assert [hump.r_at for hump in found] == [300, 345]
    assert [hump.r_at for hump in retracted] == [300]


def test_a_certain_beat_stands_whatever_follows() -> None:
    found, retracted = two_humps(SureOfTallP())
    assert [hump.r_at for hump in found] == [300]
    assert retracted == []
