"""The matcher against hand-counted cases, the best possible pairing, and another's matcher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.core.errors import SetupError
from bedside.evaluate.beats import Marks, Tally, figures, independent, match, read_marks, score

pytestmark = pytest.mark.requirement("EVL-002")

FS = 250.0


def marks(*beats: tuple[int, str], flutter: tuple[tuple[int, int], ...] = ()) -> Marks:
    return Marks(np.array([at for at, _ in beats], np.int64), tuple(symbol for _, symbol in beats), flutter)


def normal(*at: int) -> Marks:
    return marks(*((one, "N") for one in at))


def counts(tally: Tally) -> tuple[int, int, int]:
    return tally.tp, tally.fn, tally.fp


@pytest.mark.parametrize(
    ("reference", "test", "expected"),
    [
        ([100, 300, 500], [100, 300, 500], (3, 0, 0)),
        ([100, 300, 500], [137, 263, 500], (3, 0, 0)),  # 150 ms is 37.5 samples
        ([100, 300, 500], [138, 300, 500], (2, 1, 1)),
        ([100, 300, 500], [100, 500], (2, 1, 0)),
        ([100, 300, 500], [100, 120, 300, 500], (3, 0, 1)),
        ([100, 130], [128], (1, 1, 0)),
        ([100, 130], [70, 100], (2, 0, 0)),  # the nearer pair would leave one of each alone
        ([], [10, 20], (0, 0, 2)),
        ([10, 20], [], (0, 2, 0)),
    ],
)
def test_hand_counted_pairs(reference: list[int], test: list[int], expected: tuple[int, int, int]) -> None:
    assert counts(score(normal(*reference), normal(*test), FS)) == expected


def test_flutter_is_left_out_on_both_sides() -> None:
    reference = marks((100, "N"), (1000, "N"), (2000, "V"), (3000, "N"), flutter=((900, 2500),))
    assert counts(score(reference, normal(100, 950, 1200, 2400, 3000), FS)) == (2, 0, 0)
    without = marks((100, "N"), (1000, "N"), (2000, "V"), (3000, "N"))  # negative control
    assert counts(score(without, normal(100, 950, 1200, 2400, 3000), FS)) == (2, 2, 3)


def test_the_learning_period_is_left_out_when_asked() -> None:
    reference = normal(*range(0, 250 * 400, 200))
    test = normal(*range(250 * 300, 250 * 400, 200))
    assert score(reference, test, FS).fn == 375
    assert counts(score(reference, test, FS, from_s=300.0)) == (125, 0, 0)


def test_classes_are_counted_by_the_rules_that_are_printed() -> None:
    reference = marks((0, "V"), (200, "V"), (400, "V"), (600, "N"), (800, "S"), (1000, "F"), (1200, "Q"), (1400, "S"))
    test = marks((0, "V"), (200, "N"), (600, "V"), (800, "V"), (1000, "V"), (1200, "V"), (1400, "S"), (1700, "V"))
    tally = score(reference, test, FS)
    assert tally.veb == (1, 2, 3)  # TP; called N, and missed; N, S and nothing called V; F and Q count neither way
    assert tally.sveb == (1, 1, 0)
    assert score(reference, test, FS, classes=False).veb == (0, 0, 0)


def test_figures_of_nothing_are_none() -> None:
    assert figures(0, 0, 0).f1 is None
    assert figures(90, 10, 10).se == pytest.approx(90.0)
    assert figures(90, 10, 20).f1 == pytest.approx(100 * 180 / 210)


def best(reference: list[int], test: list[int], window: float) -> int:
    """The most pairs that any matcher can make, by dynamic programming."""
    table = np.zeros((len(reference) + 1, len(test) + 1), int)
    for i, a in enumerate(reference, 1):
        for j, b in enumerate(test, 1):
            table[i, j] = max(table[i - 1, j], table[i, j - 1], table[i - 1, j - 1] + (abs(a - b) <= window))
    return int(table[-1, -1])


beats = st.lists(st.integers(0, 2000), max_size=25, unique=True).map(sorted)


@given(beats, beats)
def test_pairs_lie_in_the_window_use_each_mark_once_and_lose_none(reference: list[int], test: list[int]) -> None:
    pairs = match(np.array(reference, np.int64), np.array(test, np.int64), 37.5)
    assert sorted(i for i, _ in pairs if i is not None) == list(range(len(reference)))
    assert sorted(j for _, j in pairs if j is not None) == list(range(len(test)))
    made = [(i, j) for i, j in pairs if i is not None and j is not None]
    assert all(abs(reference[i] - test[j]) <= 37.5 for i, j in made)
    assert len(made) <= best(reference, test, 37.5)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_on_beats_as_hearts_make_them_two_matchers_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = np.cumsum(rng.integers(75, 250, 200))
    test = reference[rng.random(200) > 0.05] + 0
    test = np.unique(np.concatenate([test + rng.integers(-20, 21, test.size), rng.integers(0, reference[-1], 5)]))
    ours = score(normal(*reference), normal(*test), FS)
    theirs = independent(normal(*reference), normal(*test), FS)
    assert abs(ours.tp - theirs[0]) <= 1
    assert ours.tp + ours.fn == theirs[0] + theirs[1]
    assert ours.tp == best(list(reference), list(test), 37.5)


def test_annotation_files_are_read_with_their_classes_and_flutter(tmp_path: Path) -> None:
    wfdb.wrann(
        "x", "atr", np.array([10, 20, 30, 40, 50, 60, 70]), symbol=["N", "+", "[", "!", "]", "A", "/"], fs=360,
        aux_note=["", "(VFL", "", "", "", "", ""], write_dir=str(tmp_path),
    )  # fmt: skip
    found = read_marks(tmp_path / "x", "atr")
    assert found.samples.tolist() == [10, 60, 70]
    assert found.classes == ("N", "S", "Q")
    assert found.flutter == ((30, 50),)
    with pytest.raises(SetupError, match=r"x\.qrs: no such annotation file"):
        read_marks(tmp_path / "x", "qrs")


def in_a_row(classes: str) -> Marks:
    return marks(*((200 * (k + 1), symbol) for k, symbol in enumerate(classes)))


@pytest.mark.parametrize(
    ("reference", "called", "expected"),
    [
        ("NVVNN", "NVVNN", ((1, 0, 0), (0, 0, 0), (0, 0, 0))),
        ("NVVVN", "NVVNN", ((0, 0, 0), (0, 1, 0), (0, 0, 0))),  # a couplet is no run of three, and no false couplet
        ("NVVVN", "NNNNN", ((0, 0, 0), (0, 1, 0), (0, 0, 0))),
        ("NNNNN", "NVVVN", ((0, 0, 0), (0, 0, 1), (0, 0, 0))),
        ("NVVVVVVN", "NVVVVVVN", ((0, 0, 0), (0, 0, 0), (1, 0, 0))),
        ("NVVVVVVN", "NVVNVVVN", ((0, 0, 0), (0, 0, 0), (0, 1, 0))),
        ("NVNVN", "NVNVN", ((0, 0, 0), (0, 0, 0), (0, 0, 0))),
    ],
)
def test_ventricular_runs_are_counted_by_their_length(
    reference: str, called: str, expected: tuple[tuple[int, int, int], ...]
) -> None:
    assert score(in_a_row(reference), in_a_row(called), FS).runs == expected


def test_escapes_are_n_and_in_a_figure_of_their_own_s(tmp_path: Path) -> None:
    at = np.arange(200, 1400, 200)
    wfdb.wrann("100", "atr", at, symbol=["N", "e", "A", "j", "N", "N"], fs=250, write_dir=str(tmp_path))
    reference = read_marks(tmp_path / "100", "atr")
    tally = score(reference, in_a_row("NSSNNN"), FS)
    assert tally.sveb == (1, 0, 1)
    assert tally.sveb_escapes == (2, 1, 0)
