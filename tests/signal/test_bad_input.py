"""Whatever a wearable sends, nothing of the signal room ends, hangs, warns or lets a number through that is none.

Streams are made of spoilt stretches between sound ones and go through the whole room: lead, rate, rhythm. The same
stream is cut in two ways, one of them with every state saved and restored between blocks: both must say the same.
Warnings are errors in these tests.
"""

from __future__ import annotations

import math
import pickle
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.signal.heart_signals import Floats, lead, normal, steady

from bedside.signal import lead as lead_module
from bedside.signal.lead import INTERNAL_HZ, LeadAnalyser, LeadOutput, LeadState
from bedside.signal.pleth import PulseAnalyser
from bedside.signal.rate import Rate, RateMeter, RateState
from bedside.signal.rhythm import JudgedBeat, RhythmAnalyser, RhythmInput, SeenSecond

pytestmark = pytest.mark.requirement("SIG-001", "SIG-003")

STATE_BYTES_MAX = 120_000
KINDS = (
    "sound", "constant", "missing", "infinite", "minus infinite", "huge", "volts", "clipped", "upside down", "spikes",
    "sparse", "noise", "tiny", "steps",
)  # fmt: skip


def spoilt(kind: str, heart_mv: Floats, rng: np.random.Generator) -> Floats:
    """A stretch of a lead, spoilt."""
    n = heart_mv.size
    made: dict[str, Any] = {
        "sound": heart_mv,
        "constant": np.full(n, 2.5),
        "missing": np.full(n, np.nan),
        "infinite": np.where(rng.random(n) < 0.1, np.inf, heart_mv),
        "minus infinite": np.full(n, -np.inf),
        "huge": np.where(rng.random(n) < 0.1, rng.choice([1e300, -1e300, 1e12], n), heart_mv),
        "volts": heart_mv + 4000.0,
        "clipped": np.clip(heart_mv, -0.1, 0.2),
        "upside down": -heart_mv,
        "spikes": heart_mv + 10.0 * (rng.random(n) < 0.02),
        "sparse": np.where(rng.random(n) < 0.7, np.nan, heart_mv),
        "noise": rng.normal(0.0, 2.0, n),
        "tiny": heart_mv * 1e-12,
        "steps": np.where(np.arange(n) % 2 == 0, 5.0, -5.0),
    }
    return np.asarray(made[kind], dtype=np.float64)


def stream_of(parts: list[tuple[str, float]], fs_hz: float, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    seconds = sum(length_s for _, length_s in parts)
    heart_mv = lead([(at, normal()) for at in steady(seconds + 2)], seconds + 2, fs_hz)
    heart_mv += rng.normal(0.0, 0.01, heart_mv.size)
    edges = np.cumsum([0, *(int(length_s * fs_hz) for _, length_s in parts)]).tolist()
    return np.concatenate(
        [spoilt(kind, heart_mv[a:b], rng) for (kind, _), a, b in zip(parts, edges, edges[1:], strict=False)]
    )


@dataclass
class Room:
    """The room's objects one behind the other, as a monitor wires them; everything they say."""

    fs_hz: float
    said: list[Any] = field(default_factory=list)
    clean_mv: list[Floats] = field(default_factory=list)
    state: Any = None

    def __post_init__(self) -> None:
        self.design, self.meter, self.rhythm = LeadAnalyser.design(self.fs_hz), RateMeter(), RhythmAnalyser()
        self.state = (self.design.initial(), self.meter.initial(), self.rhythm.initial())

    def take(self, block_mv: Floats) -> None:
        """In groups of two frames, so that the cut does not show."""
        at = 0
        while at < block_mv.size:
            lead_state: LeadState = self.state[0]
            end = min(at + self.design.wanted(lead_state, 2), block_mv.size)
            lead_state, output = self.design.step(lead_state, block_mv[at:end], 2)
            self.state = (lead_state, *self.state[1:])
            at = end
            if output.clean_mv.size:
                self.hear(output)

    def hear(self, output: LeadOutput) -> None:
        lead_state, rate, rhythm = self.state
        per, settled_s = INTERNAL_HZ / self.fs_hz, output.settled_index / self.fs_hz
        for index in output.retracted:
            rate = self.meter.retract(rate, index / self.fs_hz)
        for peak in output.peaks:
            if peak.index not in output.retracted:
                rate = self.meter.beat(rate, peak.index / self.fs_hz)
        rhythm, found = self.rhythm.step(
            rhythm,
            RhythmInput(
                output.clean_mv,
                output.clean_first,
                tuple(peak.clean_index for peak in output.peaks),
                tuple(JudgedBeat(peak.clean_index, "N") for peak in output.peaks),
                tuple(
                    SeenSecond(round(one.first_index * per), round(one.n_samples * per), one.usable, one.reason)
                    for one in output.quality
                ),
                int(output.settled_index * per),
            ),
        )
        self.clean_mv.append(output.clean_mv)
        self.said += [astuple(peak) for peak in output.peaks]
        self.said += [("retracted", index) for index in output.retracted]
        self.said += [astuple(second) for second in output.quality]
        self.said += [(one.label, one.onset, one.end, *one.evidence.items()) for one in found.episodes]
        self.said += [astuple(pause) for pause in found.pauses]
        self.said.append(astuple(self.meter.read(rate, settled_s)))
        self.state = (lead_state, rate, rhythm)

    def restored(self) -> None:
        """Save all memory and go on from what was saved."""
        saved = pickle.dumps(self.state)
        assert len(saved) < STATE_BYTES_MAX
        self.state = pickle.loads(saved)


def numbers(said: Any) -> list[float]:
    """Every number in what was said, however deep."""
    if isinstance(said, bool) or said is None or isinstance(said, str):
        return []
    if isinstance(said, (int, float)):
        return [float(said)]
    return [number for one in said for number in numbers(one)]


parts = st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0.1, 7.0)), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(
    parts=parts,
    fs_hz=st.sampled_from([100.0, 130.0, 250.0, 333.3, 500.0]),
    seed=st.integers(0, 99),
    block_s=st.sampled_from([0.013, 0.1, 0.5, 3.0]),
)
def test_whatever_comes_only_finite_numbers_go_on_and_neither_cut_nor_saving_shows(
    parts: list[tuple[str, float]], fs_hz: float, seed: int, block_s: float
) -> None:
    stream_mv = stream_of(parts, fs_hz, seed)
    whole, pieces = Room(fs_hz), Room(fs_hz)
    whole.take(stream_mv)
    step = max(1, int(block_s * fs_hz))
    for start in range(0, stream_mv.size, step):
        pieces.take(stream_mv[start : start + step])
        pieces.restored()
    assert pieces.said == whole.said
    assert all(map(math.isfinite, numbers(whole.said)))
    clean_mv = np.concatenate([*whole.clean_mv, np.zeros(0)])
    assert np.array_equal(clean_mv, np.concatenate([*pieces.clean_mv, np.zeros(0)]), equal_nan=True)
    assert not np.isinf(clean_mv).any()


def test_without_the_look_at_each_chunk_one_missing_sample_would_blind_the_lead_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control."""
    stream_mv = stream_of([("sound", 10.0)], 130.0, 1)
    stream_mv[500] = np.nan
    room, blinded = Room(130.0), Room(130.0)
    room.take(stream_mv)
    blinded.take(stream_mv[:400])
    monkeypatch.setattr(lead_module, "_plain", lambda *_: True)
    blinded.take(stream_mv[400:])
    assert not np.isnan(room.clean_mv[-1]).any()
    assert np.isnan(blinded.clean_mv[-1]).all()


@pytest.mark.parametrize("kind", ["constant", "missing", "minus infinite", "noise", "steps", "sparse"])
def test_no_second_of_a_lead_that_shows_no_heart_is_usable(kind: str) -> None:
    room = Room(130.0)
    room.take(stream_of([("sound", 15.0), (kind, 40.0)], 130.0, 5))
    usable = [one[2] for one in room.said if len(one) == 5 and isinstance(one[2], bool)]
    assert any(usable[:14])
    assert not any(usable[-30:])


def test_a_missing_stretch_and_a_sparse_one_hide_their_numbers_but_not_those_after_them() -> None:
    room = Room(130.0)
    room.take(stream_of([("sound", 10.0), ("missing", 300.0), ("sound", 20.0)], 130.0, 6))
    bpm = [one[0] for one in room.said if len(one) == 3 and isinstance(one[2], bool)]
    assert bpm[-1] == pytest.approx(72, abs=5)
    usable = [one[2] for one in room.said if len(one) == 5 and isinstance(one[2], bool)]
    assert not any(usable[12:308])
    assert all(usable[-10:])


# Arguments


@pytest.mark.parametrize("at_s", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_none_is_refused_by_name(at_s: float) -> None:
    meter = RateMeter()
    with pytest.raises(ValueError, match="at_s"):
        meter.beat(meter.initial(), at_s)
    with pytest.raises(ValueError, match="at_s"):
        meter.read(meter.initial(), at_s)
    with pytest.raises(ValueError, match="unusable_s"):
        meter.read(meter.initial(), 1.0, math.nan)
    with pytest.raises(ValueError, match="unusable_s"):
        meter.read(meter.initial(), 1.0, -1.0)


@given(st.lists(st.floats(-1e6, 1e6), max_size=40))
def test_beats_in_any_order_give_a_rate_a_heart_can_have_or_a_reason(at_s: list[float]) -> None:
    meter, state = RateMeter(), RateState()
    for one in at_s:
        state = meter.beat(state, one)
    rate: Rate = meter.read(state, max(at_s, default=0.0))
    assert rate.bpm is None or 15 <= rate.bpm <= 320
    assert (rate.bpm is None) == (rate.reason is not None)
    assert pickle.loads(pickle.dumps(state)) == state


@pytest.mark.parametrize("clean_mv", [np.zeros((2, 50)), np.zeros(50, dtype=np.int64), np.zeros(())])
def test_a_clean_lead_of_another_shape_or_kind_is_refused_by_name(clean_mv: NDArray[Any]) -> None:
    analyser = RhythmAnalyser()
    with pytest.raises(ValueError, match="clean_mv"):
        analyser.step(analyser.initial(), RhythmInput(clean_mv, 0, (), (), (), 0))


@pytest.mark.parametrize("wild", [np.inf, -np.inf, 1e300, np.nan])
def test_wild_samples_are_not_seen_by_the_rhythm(wild: float) -> None:
    analyser, rng = RhythmAnalyser(), np.random.default_rng(1)
    state, said = analyser.initial(), list[str]()
    for start in range(0, 5000, 100):
        clean_mv = rng.normal(0.0, 0.3, 100)
        clean_mv[rng.random(100) < 0.1] = wild
        seconds = (SeenSecond(start - 250, 250, False, "motion"),) if start % 250 == 0 else ()
        state, found = analyser.step(
            state, RhythmInput(clean_mv, start, (start + 50,), (JudgedBeat(start + 50, "N"),), seconds, start)
        )
        said += [one.label for one in found.episodes]
        state = pickle.loads(pickle.dumps(state))
    assert "VFL" not in said
    assert "ASYS" not in said


@settings(max_examples=15, deadline=None)
@given(parts=parts, seed=st.integers(0, 99), at=st.floats(0, 1))
def test_a_pulse_wave_of_any_kind_gives_only_finite_numbers_and_survives_saving(
    parts: list[tuple[str, float]], seed: int, at: float
) -> None:
    wave, design = stream_of(parts, 100.0, seed), PulseAnalyser.design(100.0)
    state, whole = design.step(design.initial(), wave)
    middle = int(at * wave.size)
    early, first = design.step(design.initial(), wave[:middle])
    late, second = design.step(pickle.loads(pickle.dumps(early)), wave[middle:])
    assert first.pulses + second.pulses == whole.pulses
    assert first.seconds + second.seconds == whole.seconds
    assert second.rate_bpm == whole.rate_bpm
    assert all(map(math.isfinite, numbers([tuple(one) for one in whole.pulses])))
    assert whole.rate_bpm is None or 20 <= whole.rate_bpm <= 320
    assert len(pickle.dumps(late)) < STATE_BYTES_MAX
    assert len(pickle.dumps(state)) < STATE_BYTES_MAX
