"""Acceleration made by stated physics (no recordings): gravity by tilt, walking, a fall; and what it is told to be."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.signal import motion
from bedside.signal.motion import MotionAnalyser, MotionSecond, Mounting, Posture
from bedside.signal.resample import Floats

pytestmark = pytest.mark.requirement("SIG-012")

# the sensor's own axes: y to the head, z out of the breast, so x to the wearer's left
MOUNTING = Mounting((0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
UP = {
    Posture.UPRIGHT: (0.0, 1.0, 0.0),
    Posture.SUPINE: (0.0, 0.0, 1.0),
    Posture.PRONE: (0.0, 0.0, -1.0),
    Posture.LEFT: (-1.0, 0.0, 0.0),
    Posture.RIGHT: (1.0, 0.0, 0.0),
    Posture.RECLINED: (0.0, 0.68, 0.73),
}


def still(posture: Posture, seconds: float, fs_hz: float = 50.0, seed: int = 0) -> Floats:
    """Gravity's reaction along `UP`, with 4 mg of noise a sample."""
    n = round(seconds * fs_hz)
    up = np.array(UP[posture])
    noise = 4.0 * np.random.default_rng(seed).standard_normal((n, 3))
    return np.asarray(1000.0 * up / np.sqrt(up @ up) + noise, np.float64)


def walking(seconds: float, steps_per_s: float = 1.9, fs_hz: float = 50.0) -> Floats:
    """Upright; each step pushes the trunk up (first and second harmonic), it sways sideways at half the rate."""
    t_s = np.arange(round(seconds * fs_hz)) / fs_hz
    out = still(Posture.UPRIGHT, seconds, fs_hz)
    out[:, 1] += 260 * np.sin(2 * np.pi * steps_per_s * t_s) + 60 * np.sin(4 * np.pi * steps_per_s * t_s)
    out[:, 0] += 120 * np.sin(np.pi * steps_per_s * t_s)
    return out


def fall(
    fs_hz: float = 50.0, impact_mg: float = 3800.0, after: Posture = Posture.RIGHT, lies_s: float = 15.0
) -> Floats:
    """0.35 s of free fall (60 mg left), 0.06 s of impact, then lying still."""
    free = 60.0 * np.ones((round(0.35 * fs_hz), 3)) / np.sqrt(3)
    hit = impact_mg / np.sqrt(2) * np.ones((max(2, round(0.06 * fs_hz)), 3)) * np.array([1.0, 1.0, 0.0])
    return np.concatenate((free, hit, still(Posture.RIGHT, lies_s, fs_hz)))


def seconds_of(values: Floats, fs_hz: float = 50.0, mounting: Mounting | None = MOUNTING) -> list[MotionSecond]:
    design = MotionAnalyser.design(fs_hz, mounting)
    return design.step(design.initial(), values)[1]


@pytest.mark.parametrize("posture", list(UP))
@pytest.mark.parametrize("fs_hz", [25.0, 52.0, 200.0])
def test_each_posture_is_told_after_three_seconds_and_not_before(posture: Posture, fs_hz: float) -> None:
    seconds = seconds_of(still(posture, 8.0, fs_hz), fs_hz)
    assert [one.posture for one in seconds[:2]] == [Posture.UNKNOWN] * 2
    assert {one.posture for one in seconds[2:]} == {posture}
    assert not any(one.moving for one in seconds)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), posture=st.sampled_from(list(UP)))
def test_the_sensor_may_be_turned_any_way_if_its_mounting_is_stated(seed: int, posture: Posture) -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    head, front = turn @ np.array(MOUNTING.head), turn @ np.array([0.0, 0.0, 1.0])
    mounting = Mounting((head[0], head[1], head[2]), (front[0], front[1], front[2]))
    assert seconds_of(still(posture, 5.0) @ turn.T, 50.0, mounting)[-1].posture is posture


def test_without_a_mounting_posture_is_unknown_until_walking_teaches_upright() -> None:
    assert {one.posture for one in seconds_of(still(Posture.UPRIGHT, 20.0), 50.0, None)} == {Posture.UNKNOWN}
    learnt = seconds_of(np.concatenate((walking(30.0), still(Posture.SUPINE, 10.0))), 50.0, None)
    assert learnt[28].posture is Posture.UPRIGHT
    assert learnt[-1].posture is Posture.LYING  # which way cannot be known


@pytest.mark.parametrize("steps_per_s", [1.5, 1.9, 2.5])
@pytest.mark.parametrize("fs_hz", [25.0, 50.0, 104.0])
def test_steps_are_counted(steps_per_s: float, fs_hz: float) -> None:
    seconds = seconds_of(walking(60.0, steps_per_s, fs_hz), fs_hz)
    assert sum(one.steps for one in seconds) == pytest.approx(60 * steps_per_s, rel=0.05)
    assert all(one.moving for one in seconds)


def test_a_gesture_is_no_walk() -> None:
    values = still(Posture.UPRIGHT, 60.0)
    for at in range(500, 3000, 400):
        values[at : at + 20, 1] += 300 * np.sin(np.linspace(0, np.pi, 20))
    assert sum(one.steps for one in seconds_of(values)) == 0


@pytest.mark.parametrize("fs_hz", [50.0, 100.0])
@pytest.mark.parametrize("offset", [0, 13, 31])
def test_a_fall_is_told_once_within_twelve_seconds_of_its_impact(fs_hz: float, offset: int) -> None:
    values = np.concatenate((walking(20.0, fs_hz=fs_hz), still(Posture.UPRIGHT, 3.0, fs_hz)[offset:], fall(fs_hz)))
    fell = [one for one in seconds_of(values, fs_hz) if one.fell]
    assert len(fell) == 1
    assert fell[0].impact_index is not None
    told_s = (fell[0].first_index + fell[0].n_samples - fell[0].impact_index) / fs_hz
    assert told_s <= 12


def test_what_looks_like_part_of_a_fall_is_none() -> None:
    upright = still(Posture.UPRIGHT, 20.0)
    stumble = fall(lies_s=0.0)
    assert not any(one.fell for one in seconds_of(np.concatenate((upright, stumble, walking(30.0)))))
    soft = fall(impact_mg=1800.0)  # into bed
    assert not any(one.fell for one in seconds_of(np.concatenate((upright, soft))))
    knock = np.concatenate((upright, still(Posture.SUPINE, 20.0)))
    knock[1000:1003] *= 4.0  # an impact without free fall
    assert not any(one.fell for one in seconds_of(knock))


def test_without_the_rule_of_lying_still_a_stumble_would_be_a_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test before it."""
    monkeypatch.setattr(motion, "STILL_AFTER_S", 0)
    with pytest.raises(AssertionError):
        test_what_looks_like_part_of_a_fall_is_none()


def test_holes_and_broken_sensors_say_so() -> None:
    values = still(Posture.SUPINE, 20.0)
    values[500:600] = np.nan
    seconds = seconds_of(values)
    assert [one.reason for one in seconds[10:12]] == ["missing"] * 2
    assert seconds[12].posture is Posture.UNKNOWN
    assert seconds[-1].posture is Posture.SUPINE
    assert {one.reason for one in seconds_of(np.zeros((500, 3)))} == {"no_gravity"}
    assert {one.posture for one in seconds_of(np.zeros((500, 3)))} == {Posture.UNKNOWN}


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 2500), max_size=10), at=st.integers(0, 2500))
def test_cuts_and_saved_states_change_nothing(cuts: list[int], at: int) -> None:
    values = np.concatenate((walking(25.0), fall(lies_s=25.0)))[:2500]
    design = MotionAnalyser.design(50.0)
    whole = design.step(design.initial(), values)[1]
    state, parts = design.initial(), list[MotionSecond]()
    for block in np.split(values, sorted(cuts)):
        state, some = design.step(state, block)
        parts += some
    assert parts == whole
    state, before = design.step(design.initial(), values[:at])
    assert [*before, *design.step(pickle.loads(pickle.dumps(state)), values[at:])[1]] == whole
    assert len(pickle.dumps(state)) < 8000


@pytest.mark.parametrize("fs_hz", [0.0, 20.0, 500.0, float("nan")])
def test_an_absurd_rate_is_refused_by_name(fs_hz: float) -> None:
    with pytest.raises(ValueError, match="fs_hz"):
        MotionAnalyser.design(fs_hz)


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="mounting"):
        MotionAnalyser.design(50.0, Mounting((0.0, 1.0, 0.0), (0.0, 1.0, 0.1)))
    with pytest.raises(ValueError, match=r"mounting\.head"):
        MotionAnalyser.design(50.0, Mounting((0.0, 0.0, 0.0), None))
    design = MotionAnalyser.design(50.0)
    with pytest.raises(ValueError, match="block_mg"):
        design.step(design.initial(), np.zeros(30))
    wild = np.full((200, 3), np.inf)
    assert design.step(design.initial(), wild)[1]
