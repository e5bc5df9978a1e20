"""Alarms that are off, standby, and the alarm system's check of itself."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tests.alarms.alarm_scene import STRAP, S, Scene

from bedside.alarms import self_check as checking
from bedside.alarms.engine import AlarmEngine
from bedside.alarms.quiet import OFF_S_MAX, STANDBY_S, Act, Quiet, act, lethal, may_be_off
from bedside.alarms.self_check import self_check
from bedside.alarms.table import default_table
from bedside.core.codes import Code
from bedside.core.events import AlarmState, BeatClass, RhythmLabel
from bedside.core.samples import LinkState

pytestmark = pytest.mark.requirement("ALM-002")
LETHAL = ["apnea", "asystole", "desaturation", "ventricular_fibrillation", "ventricular_tachycardia"]
NEVER_OFF = sorted([*LETHAL, "patient_call"])


def word(scene: Scene, reason: str = "at X-ray", seconds: float = 600) -> Act:
    return act("Nurse Joy", reason, seconds, scene.now_us(), least_s=1, most_s=3600)


def test_nobody_may_turn_off_the_five_lethal_ones_and_the_patients_own_call() -> None:
    table = default_table()
    assert sorted(kind for kind, row in table.conditions.items() if lethal(row)) == NEVER_OFF
    for kind in NEVER_OFF:
        with pytest.raises(ValueError, match="nobody may turn this alarm off"):
            may_be_off(kind, table)
        whole = Quiet(
            Act(by="x", reason="y", until_us=1, since_us=0), {kind: Act(by="x", reason="y", until_us=1, since_us=0)}
        )
        assert whole.holder(table[kind]) is None
    with pytest.raises(ValueError, match="there is no alarm"):
        may_be_off("everything", table)


def test_an_alarm_that_is_off_is_suppressed_by_name_and_its_end_brings_it_back() -> None:
    scene = Scene()
    scene.tell(scene.engine.set_quiet(Quiet(None, {"spo2_low": word(scene, "COPD")}), scene.now_us()))
    scene.seconds(Code.SPO2, 86.0, 30)
    assert scene.alarms("spo2_low") == []
    assert scene.suppressed("spo2_low")[0].reason == "turned off by Nurse Joy: COPD"
    scene.tell(scene.engine.set_quiet(Quiet(), scene.now_us()))
    scene.seconds(Code.SPO2, 86.0, 1)
    assert scene.states("spo2_low") == [AlarmState.ACTIVE], "it is still so low"
    scene.tell(scene.engine.set_quiet(Quiet(None, {"spo2_low": word(scene)}), scene.now_us()))
    ended = scene.alarms("spo2_low")[-1]
    assert (ended.state, ended.by, ended.evidence["why"]) == (AlarmState.ENDED, "Nurse Joy", "switched off")


def test_standby_quiets_the_link_and_never_a_fibrillation() -> None:
    scene = Scene()
    scene.link(LinkState.UP)
    scene.tell(scene.engine.set_quiet(Quiet(word(scene)), scene.now_us()))
    scene.link(LinkState.LOST, STRAP)
    scene.wait(400)
    assert scene.alarms("link_lost") == []
    assert scene.suppressed("link_lost")[0].reason == "standby by Nurse Joy: at X-ray"
    scene.rhythm(RhythmLabel.VF, scene.t)
    assert scene.states("ventricular_fibrillation") == [AlarmState.ACTIVE]
    scene.tell(scene.engine.set_quiet(Quiet(), scene.now_us()))
    assert [str(one.priority) for one in scene.alarms("link_lost")] == ["high"], "lost for 400 s: where it would stand"


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(-10, 2e6))
def test_what_is_over_is_said_once_and_no_longer_holds(standby_s: float, off_s: float, at_s: float) -> None:
    def until(seconds: float) -> Act:
        return Act(by="x", reason="y", until_us=round(seconds * S), since_us=0)

    quiet, over = Quiet(until(standby_s), {"anomaly": until(off_s)}).after(round(at_s * S))
    expected = [
        kind for kind, end_s in (("anomaly", off_s), ("standby", standby_s)) if round(at_s * S) >= round(end_s * S)
    ]
    assert over == expected
    assert (quiet.standby is None) == ("standby" in over) and ("anomaly" not in quiet.off) == ("anomaly" in over)
    assert quiet.after(round(at_s * S)) == (quiet, [])


@pytest.mark.parametrize(
    ("by", "reason", "seconds"), [(" ", "x", 60), ("n", " ", 60), ("n", "x" * 200, 60), ("n", "x", 0), ("n", "x", 1e9)]
)
def test_nameless_groundless_and_endless_acts_are_refused(by: str, reason: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=r"named|reason|seconds"):
        act(by, reason, seconds, 0, least_s=STANDBY_S[0], most_s=OFF_S_MAX)


def test_a_tachycardia_that_one_of_rule_and_model_sees_is_flagged() -> None:
    scene = Scene()
    scene.beats(BeatClass.V, 6, 0.5)
    assert (
        scene.one("ventricular_tachycardia").evidence["disagreement"]
        == "the beat model sees it, the rhythm rule does not"
    )
    scene = Scene()
    scene.rhythm(RhythmLabel.VT, scene.t)
    scene.beats(BeatClass.N, 2, 0.5)
    alarm = scene.alarms("ventricular_tachycardia")[0]
    assert alarm.evidence["disagreement"] == "the rhythm rule sees it, the beat model does not"
    scene.beats(BeatClass.V, 6, 0.5)
    scene.rhythm(RhythmLabel.VT, scene.t - 3, scene.t)
    scene.beats(BeatClass.N, 4, 0.8)
    agreed = scene.alarms("ventricular_tachycardia")[-1]
    assert agreed.evidence["seen_by"] == "beat model, rhythm rule" and "disagreement" not in agreed.evidence


def test_the_alarm_system_finds_itself_well() -> None:
    assert self_check(default_table()) is None


class Deaf(AlarmEngine):
    def feed(self, event, now_us):  # type: ignore[no-untyped-def]
        return []


class Forgetful(AlarmEngine):
    def _perhaps_over(self, track):  # type: ignore[no-untyped-def]
        if track.alarm is not None and track.cleared(self._clock):
            return [self._change(track, AlarmState.ENDED, track.alarm.priority, "condition over")]
        return []


class Broken(AlarmEngine):
    def advance(self, now_us):  # type: ignore[no-untyped-def]
        raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("broken", "said"),
    [(Deaf, "asystole was not signalled"), (Forgetful, "did not outlast"), (Broken, "self-check itself failed")],
)
def test_the_self_check_finds_an_alarm_system_that_fails(
    broken: type[AlarmEngine], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "AlarmEngine", broken)
    assert said in str(self_check(default_table()))


def test_the_self_check_finds_a_missing_tone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "bursts", dict)
    assert self_check(default_table()) == "no tone for high, medium, low priority"
