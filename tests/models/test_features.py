"""A beat's row of numbers: free of gain, the same whatever past is copied, in the fixed int8 rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.models.features import INPUT_STEPS, NAMES, SHAPES_MAX, Memory, quantised, real
from bedside.models.tempo import RECENT, RR_KEPT, RR_NAMES, Tempo
from bedside.models.windows import AFTER, BEFORE, SLACK, CleanBuffer, Floats

LENGTH = BEFORE + AFTER + 2 * SLACK


def wave(width: float, height_mv: float = 1.0, seed: int = 0) -> Floats:
    """A bell of a QRS, a P and a T wave, and a little noise."""
    at = np.arange(LENGTH) - BEFORE - SLACK
    clean = (
        np.exp(-((at / width) ** 2)) + 0.12 * np.exp(-(((at + 42) / 8) ** 2)) + 0.3 * np.exp(-(((at - 75) / 15) ** 2))
    )
    noisy: Floats = height_mv * (clean + 0.01 * np.random.default_rng(seed).standard_normal(LENGTH))
    return noisy


def value(row: Floats, name: str) -> float:
    return float(row[NAMES.index(name)])


def taught(n: int = 60, rr_s: float = 0.8, height_mv: float = 1.0) -> Memory:
    memory = Memory()
    for beat in range(n):
        memory.take(wave(5, height_mv, beat), rr_s)
    return memory


def test_a_row_has_a_finite_value_for_every_name_from_the_first_beat_on() -> None:
    memory = Memory()
    for rr_s in (None, 0.8, 0.3, 9.9):
        row = memory.take(wave(5), rr_s)
        assert row.shape == (len(NAMES),)
        assert np.isfinite(row).all()


def test_gain_changes_no_input() -> None:
    quiet, loud = taught(height_mv=0.2), taught(height_mv=4.0)
    difference = quantised(quiet.take(wave(9, 0.2, 99), 0.6)).astype(int) - quantised(loud.take(wave(9, 4.0, 99), 0.6))
    assert np.abs(difference).max() <= 1


def test_a_wide_early_beat_stands_out_and_a_usual_one_does_not() -> None:
    usual, odd = taught().take(wave(5, seed=77), 0.8), taught().take(-wave(14, seed=77), 0.5)
    assert value(usual, "qrs_correlation") > 0.99
    assert value(odd, "qrs_correlation") < 0.5
    assert value(odd, "width_relative") > 0.02 > abs(value(usual, "width_relative"))
    assert value(odd, "rr_log_p80_300") == pytest.approx(np.log(0.5 / 0.8))
    assert value(odd, "qrs_distance_moved") > 5 > abs(value(usual, "qrs_distance_moved"))


def test_a_shape_that_is_the_majority_but_early_and_wide_still_says_so() -> None:
    """A patient mostly in bigeminy or worse: the main shape is not taken for normal by itself."""
    memory = Memory()
    for beat in range(60):
        odd = beat % 3 != 0
        row = memory.take(wave(14 if odd else 5, seed=beat), 0.5 if odd else 1.1)
    memory.take(wave(5, seed=98), 1.1)
    row = memory.take(wave(14, seed=99), 0.5)
    assert value(row, "own_share") > 0.5
    assert value(row, "rr_log_p95_300") < -0.5
    assert value(row, "width_s") > 0.06


def test_a_copy_goes_its_own_way() -> None:
    memory = taught()
    twin = memory.copy()
    expected = memory.copy().take(wave(5, seed=5), 0.8)
    for beat in range(30):
        twin.take(-wave(14, seed=beat), 0.4)
    np.testing.assert_array_equal(memory.take(wave(5, seed=5), 0.8), expected)


def test_memory_stays_bounded_whatever_comes() -> None:
    memory, chance = Memory(), np.random.default_rng(3)
    for _ in range(700):
        memory.take(chance.standard_normal(LENGTH), float(chance.uniform(0.2, 2)))
    assert len(memory.shapes) == SHAPES_MAX
    assert len(memory.tempo.early) == RR_KEPT
    assert len(memory.tempo.plain) == len(memory.tempo.ordered) <= RR_KEPT
    assert len(memory.tempo.recent) == len(memory.tempo.log_rr) == RECENT


def test_an_all_zero_window_gives_finite_numbers() -> None:
    memory = taught(10)
    assert np.isfinite(memory.take(np.zeros(LENGTH), 0.8)).all()
    empty = Memory()
    assert np.isfinite(empty.take(np.zeros(LENGTH), None)).all()
    assert np.isfinite(empty.take(wave(5), 0.8)).all()


@given(st.lists(st.floats(-1e9, 1e9), min_size=len(NAMES), max_size=len(NAMES)))
def test_every_row_becomes_int8_within_the_input_range(row: list[float]) -> None:
    steps = quantised(np.array(row))
    assert steps.dtype == np.int8
    assert np.abs(steps.astype(int)).max() <= INPUT_STEPS


def test_int8_rows_stand_for_their_numbers_within_a_step() -> None:
    row = taught().take(wave(5, seed=3), 0.7)
    assert np.abs(quantised(real(quantised(row))).astype(int) - quantised(row)).max() == 0


def tempo_after(intervals_s: list[float], odd: list[bool]) -> Tempo:
    tempo = Tempo()
    for rr_s, unusual in zip(intervals_s, odd, strict=True):
        tempo.learn(rr_s, 0.0, unusual)
    return tempo


def test_intervals_beside_odd_beats_are_no_reference() -> None:
    """Every third beat ventricular: the pause behind it would make the normal interval look early."""
    intervals_s, odd = [0.8, 0.5, 1.1] * 40, [False, True, False] * 40
    at = RR_NAMES.index("rr_log_p80_300")
    assert tempo_after(intervals_s, odd).numbers(0.8)[at] == pytest.approx(0.0)
    assert tempo_after(intervals_s, [False] * 120).numbers(0.8)[at] < -0.2


def test_without_plain_intervals_all_are_the_reference() -> None:
    numbers = tempo_after([0.9] * 50, [True] * 50).numbers(0.45)
    assert numbers[RR_NAMES.index("rr_log_p80_300")] == pytest.approx(np.log(0.5))


def test_most_beats_early_still_look_early_against_the_few_long_intervals() -> None:
    """Nine of ten intervals are early ones: the mean follows them, the highest percentile does not."""
    numbers = tempo_after([*[0.55] * 9, 1.0] * 30, [False] * 300).numbers(0.55)
    assert abs(numbers[RR_NAMES.index("rr_log_mean300")]) < 0.1
    assert numbers[RR_NAMES.index("rr_log_p95_300")] == pytest.approx(np.log(0.55))


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(0.2, 9)), st.booleans()), max_size=700))
def test_the_ordered_intervals_are_the_plain_ones(beats: list[tuple[float | None, bool]]) -> None:
    tempo = Tempo()
    for rr_s, odd in beats:
        numbers = tempo.numbers(rr_s)
        assert len(numbers) == len(RR_NAMES)
        assert np.isfinite(numbers).all()
        tempo.learn(rr_s, numbers[0] - 0.8, odd)
    assert tempo.ordered == sorted(tempo.plain)
    assert tempo.n_early == sum(tempo.early)
    assert tempo.top == sorted(tempo.log_plain)
    for lag, apart in enumerate(tempo.apart, 1):
        anew = [abs(a - b) for a, b in zip(tempo.log_plain[lag:], tempo.log_plain, strict=False)]
        assert apart == sorted(anew), f"distances {lag} beats apart"


def test_a_copy_of_a_tempo_goes_its_own_way() -> None:
    tempo = tempo_after([0.8, 0.9, 0.7] * 20, [False] * 60)
    before, twin = tempo.numbers(0.6), tempo.copy()
    for rr_s in (0.3, 1.4, 0.5) * 15:
        twin.learn(rr_s, -0.5, odd=False)
    assert tempo.numbers(0.6) == before
    assert twin.numbers(0.6) != before


def test_the_int8_rule_rounds_halves_to_even() -> None:
    row = np.zeros(len(NAMES))
    at = NAMES.index("rr_log_mean300")  # 0 becomes 0, 1 becomes 127
    for value_, steps in ((0.5 / 127, 0), (1.5 / 127, 2), (2.5 / 127, 2), (-1.0, -127), (7.0, 127)):
        row[at] = value_
        assert quantised(row)[at] == steps


@given(cuts=st.lists(st.integers(1, 400), max_size=8), drop=st.integers(-10, 900))
def test_the_buffer_gives_the_same_window_however_it_was_filled(cuts: list[int], drop: int) -> None:
    values = np.random.default_rng(0).standard_normal(sum(cuts) + 300)
    buffer, at = CleanBuffer.empty(), 0
    for size in [*cuts, 300]:
        buffer = buffer.extended(values[at : at + size], at)
        at += size
    window = buffer.around(150)
    padded = np.concatenate([np.full(LENGTH, np.nan), values, np.full(LENGTH, np.nan)])
    start = 150 - BEFORE - SLACK + LENGTH
    np.testing.assert_array_equal(window, padded[start : start + LENGTH])
    cut = buffer.from_index(drop)
    assert cut.first == min(max(drop, 0), values.size)
    assert cut.end == buffer.end


def test_a_hole_in_the_clean_samples_is_nan_and_a_very_long_one_starts_anew() -> None:
    buffer = CleanBuffer.empty().extended(np.ones(100), 0).extended(np.ones(100), 150)
    assert np.isnan(buffer.values[100:150]).all()
    assert buffer.end == 250
    far = buffer.extended(np.ones(10), 10_000_000)
    assert (far.first, far.values.size) == (10_000_000, 10)
