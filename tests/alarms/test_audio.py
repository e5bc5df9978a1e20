"""An audio pause never hides what is worse than what it was begun for, and never lasts longer than it may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.alarms.alarm_scene import Scene

from bedside.alarms.audio import PAUSE_S_MAX, AudioPause, signalling
from bedside.alarms.table import URGENCY
from bedside.core.codes import Code
from bedside.core.events import BeatClass, Priority

pytestmark = pytest.mark.requirement("ALM-007")

PRIORITIES = st.sampled_from(list(Priority))
STEPS = st.lists(st.tuples(st.floats(0.1, 40.0), st.one_of(st.none(), PRIORITIES)), max_size=12)


def faults(kind: type[AudioPause], level: Priority, seconds: float, steps: list[tuple[float, Priority | None]]) -> str:
    """What a ward that uses pauses of this kind would do wrong."""
    now_s, pause = 1000.0, kind.begin("Nurse Joy", level, seconds, 1000.0)
    for step_s, loudest in steps:
        now_s += step_s
        if pause.over(loudest, now_s) is not None:
            return ""
        if loudest is not None and URGENCY[loudest] < URGENCY[level]:
            return f"{loudest} is hidden by a pause of {level}"
        if now_s - 1000.0 > min(seconds, PAUSE_S_MAX) + 1e-6:
            return f"silent for {now_s - 1000.0:.0f} s"
    return ""


@given(level=PRIORITIES, seconds=st.floats(1.0, PAUSE_S_MAX), steps=STEPS)
def test_no_pause_hides_what_is_worse_or_lasts_too_long(
    level: Priority, seconds: float, steps: list[tuple[float, Priority | None]]
) -> None:
    assert faults(AudioPause, level, seconds, steps) == ""


class Deaf(AudioPause):
    """Hears of nothing that is worse."""

    def over(self, loudest: Priority | None, now_s: float) -> str | None:
        return super().over(None, now_s)


class Endless(AudioPause):
    """Does not end by itself."""

    def over(self, loudest: Priority | None, now_s: float) -> str | None:
        return super().over(loudest, self.until_s - 1.0)


@pytest.mark.parametrize("broken", [Deaf, Endless])
def test_the_check_finds_a_pause_that_does(broken: type[AudioPause]) -> None:
    steps: list[tuple[float, Priority | None]] = [(10.0, Priority.MEDIUM), (10.0, Priority.HIGH), (150.0, None)]
    only_time: list[tuple[float, Priority | None]] = [(100.0, Priority.LOW), (150.0, Priority.MEDIUM)]
    assert faults(broken, Priority.MEDIUM, 60.0, steps) or faults(broken, Priority.MEDIUM, 60.0, only_time)


@pytest.mark.parametrize(("by", "seconds"), [("", 60.0), (" ", 60.0), ("x", 0.0), ("x", 120.5), ("x", float("nan"))])
def test_a_nameless_or_unbounded_pause_is_refused(by: str, seconds: float) -> None:
    with pytest.raises(ValueError, match="audio pause"):
        AudioPause.begin(by, Priority.HIGH, seconds, 0.0)


def test_what_must_be_heard_is_the_most_urgent_that_nobody_has_acknowledged() -> None:
    scene = Scene()
    assert signalling(scene.engine.open()) is None
    scene.seconds(Code.HEART_RATE, 130.0, 6)
    assert signalling(scene.engine.open()) is Priority.MEDIUM
    scene.beats(BeatClass.V, 6, 0.4)
    scene.beats(BeatClass.N, 3, 0.8)
    assert signalling(scene.engine.open()) is Priority.HIGH, "VT is over, and latched"
    scene.engine.acknowledge(scene.one("ventricular_tachycardia").alarm, "Nurse Joy", scene.now_us())
    assert signalling(scene.engine.open()) is Priority.MEDIUM
