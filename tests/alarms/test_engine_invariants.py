"""No path leads from an active high-priority condition to silence without a logged act."""

from __future__ import annotations

from typing import ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.alarms.alarm_scene import PATIENT, STRAP, Scene

from bedside.alarms.engine import AlarmEngine
from bedside.alarms.quiet import Quiet, act, lethal
from bedside.alarms.table import default_table
from bedside.core.codes import Code
from bedside.core.events import Alarm, AlarmState, BeatClass, Event, Priority, RhythmLabel
from bedside.core.samples import LinkState

pytestmark = pytest.mark.requirement("ALM-002")

ALLOWED: dict[tuple[AlarmState | None, AlarmState], set[str | None]] = {  # step of one alarm: what may have caused it
    (None, AlarmState.ACTIVE): {None},
    (AlarmState.ACTIVE, AlarmState.ACKNOWLEDGED): {"acknowledged"},
    (AlarmState.ACTIVE, AlarmState.LATCHED): {"condition over"},
    (AlarmState.ACTIVE, AlarmState.ENDED): {"condition over", "switched off"},
    (AlarmState.ACTIVE, AlarmState.ACTIVE): {"escalated", "restart"},
    (AlarmState.ACKNOWLEDGED, AlarmState.ACTIVE): {"reminder", "escalated", "seen again after a restart"},
    (AlarmState.ACKNOWLEDGED, AlarmState.ENDED): {"condition over", "switched off"},
    (AlarmState.ACKNOWLEDGED, AlarmState.ACKNOWLEDGED): {"restart"},
    (AlarmState.LATCHED, AlarmState.ACTIVE): {"condition again"},
    (AlarmState.LATCHED, AlarmState.ENDED): {"acknowledged", "shown"},  # nothing latched is switched off
    (AlarmState.LATCHED, AlarmState.LATCHED): {"restart"},
}


class WardNight(RuleBasedStateMachine):
    """A patient to whom anything happens in any order; beside her, a model that knows only what must be heard."""

    engine_class: ClassVar[type[AlarmEngine]] = AlarmEngine

    @initialize(seed=st.integers(0, 2**32 - 1))
    def begin(self, seed: int) -> None:
        self.scene = Scene(signal=False, seed=seed)
        self.scene.engine = self.engine_class(PATIENT, self.scene.ids)
        self.scene.quality(True)
        self.scene.link(LinkState.UP)
        self.checked = 0
        self.quiet = Quiet()
        self.newest: dict[str, Alarm] = {}
        self.vf_since: float | None = None
        self.lead_off = False
        self.must_be_heard: set[str] = set()  # high conditions that were on and that nobody acknowledged since

    # ------------------------------------------------------------------ what happens

    @rule(beat_class=st.sampled_from(list(BeatClass)), n=st.integers(1, 20), rr_s=st.floats(0.3, 2.5))
    def beats(self, beat_class: BeatClass, n: int, rr_s: float) -> None:
        if beat_class is BeatClass.V and n >= 5 and rr_s <= 0.6:
            self._must_be_heard("ventricular_tachycardia")
        self.scene.beats(beat_class, n, rr_s)

    @rule()
    def vf_begins(self) -> None:
        if self.vf_since is None:
            self.vf_since = self.scene.t
            self.scene.rhythm(RhythmLabel.VF, self.vf_since)
            self.must_be_heard.add("ventricular_fibrillation")

    @rule()
    def vf_ends(self) -> None:
        if self.vf_since is not None:
            self.scene.rhythm(RhythmLabel.VF, self.vf_since, end_t=self.scene.t)
            self.vf_since = None

    @rule(lasts_s=st.floats(1, 20))
    def asystole(self, lasts_s: float) -> None:
        if not self.lead_off:
            self.must_be_heard.add("asystole")
        began_t = self.scene.t
        self.scene.wait(4.0)
        self.scene.rhythm(RhythmLabel.ASYSTOLE, began_t)
        self.scene.wait(lasts_s)
        self.scene.rhythm(RhythmLabel.ASYSTOLE, began_t, end_t=self.scene.t)

    @rule(value=st.one_of(st.none(), st.integers(70, 99)), n=st.integers(1, 20))
    def saturation(self, value: int | None, n: int) -> None:
        if value is not None and value < 80:
            self._must_be_heard("desaturation")
        self.scene.seconds(Code.SPO2, value, n)

    @rule(value=st.one_of(st.none(), st.integers(30, 180)), n=st.integers(1, 20))
    def rate(self, value: int | None, n: int) -> None:
        self.scene.seconds(Code.HEART_RATE, value, n)

    @rule(usable=st.booleans(), reason=st.sampled_from(["lead_off", "motion", "flat"]))
    def quality(self, usable: bool, reason: str) -> None:
        self.lead_off = not usable and reason == "lead_off"
        self.scene.quality(usable, reason)

    @rule(n=st.integers(1, 10), rate_bpm=st.one_of(st.none(), st.floats(25, 220)), usable=st.booleans())
    def pulse(self, n: int, rate_bpm: float | None, usable: bool) -> None:
        """Whatever the pulse wave says: it silences nothing that must be heard."""
        self.scene.pulse(n, rate_bpm, usable=usable)

    @rule(state=st.sampled_from(list(LinkState)))
    def link(self, state: LinkState) -> None:
        self.scene.link(state, STRAP)

    @rule(seconds=st.floats(0.1, 400))
    def silence(self, seconds: float) -> None:
        self.scene.wait(seconds, step_s=1.0)

    @rule(jump_s=st.sampled_from([-3600, 86400, 45, -5]))
    def clock_is_set(self, jump_s: int) -> None:
        self.scene.shift_us += jump_s * 1_000_000

    @rule(which=st.integers(0, 10))
    def acknowledge(self, which: int) -> None:
        alarms = self.scene.engine.open()
        if alarms:
            alarm = alarms[which % len(alarms)]
            self.scene.tell(self.scene.engine.acknowledge(alarm.alarm, "nurse", self.scene.now_us()))
            self.must_be_heard.discard(alarm.kind)

    @rule(standby=st.booleans(), off=st.sets(st.sampled_from(sorted(default_table().conditions)), max_size=8))
    def switch_off(self, standby: bool, off: set[str]) -> None:
        """Whatever anybody asks for, even what no operation would let through: the lethal goes on."""
        now_us = self.scene.now_us()
        word = act("nurse", "X-ray", 600, now_us, least_s=1, most_s=3600)
        self.quiet = Quiet(word if standby else None, dict.fromkeys(off, word))
        self.scene.tell(self.scene.engine.set_quiet(self.quiet, now_us))

    @rule()
    def restart(self) -> None:
        before = self.scene.engine.open()
        self.scene.engine = self.engine_class(PATIENT, self.scene.ids)
        self.scene.engine.set_quiet(self.quiet, self.scene.now_us())
        self.scene.tell(self.scene.engine.restore(before, self.scene.now_us()))
        after = {(one.alarm, one.state, one.condition) for one in self.scene.engine.open()}
        assert after == {(one.alarm, one.state, one.condition) for one in before}
        self.vf_since = None

    def _must_be_heard(self, kind: str) -> None:
        """Unless it is the very condition that somebody has acknowledged."""
        known = {one.kind for one in self.scene.engine.open() if one.state is AlarmState.ACKNOWLEDGED}
        if kind not in known:
            self.must_be_heard.add(kind)

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def every_step_is_an_arrow_of_the_automaton_and_says_why(self) -> None:
        for event in self._new_events():
            if not isinstance(event, Alarm):
                continue
            before = self.newest.get(event.alarm)
            state = before.state if before is not None else None
            why = str(event.evidence.get("why")) if before is not None else None
            assert (state, event.state) in ALLOWED, f"{event.kind}: {state} -> {event.state}"
            assert why in ALLOWED[state, event.state], f"{event.kind}: {state} -> {event.state} because {why}"
            assert event.supersedes == (before.id if before is not None else None)
            if event.state is AlarmState.ENDED and event.latching:
                assert event.by, f"{event.kind} went without a name"
            if event.state in (AlarmState.LATCHED, AlarmState.ENDED):
                assert event.end_us is not None
            if why == "switched off":
                assert event.by == "nurse" and not lethal(default_table()[event.kind]), f"{event.kind} was switched off"
                assert not event.condition
            self.newest[event.alarm] = event

    @invariant()
    def a_high_condition_that_was_on_and_that_nobody_acknowledged_is_signalling(self) -> None:
        open_alarms = {one.kind: one for one in self.scene.engine.open()}
        for kind in self.must_be_heard:
            assert kind in open_alarms, f"{kind} fell silent"
            assert open_alarms[kind].state in (AlarmState.ACTIVE, AlarmState.LATCHED)
            assert open_alarms[kind].priority is Priority.HIGH

    @invariant()
    def open_alarms_are_the_newest_steps_and_are_in_order(self) -> None:
        list(self._new_events())
        order = [Priority.HIGH, Priority.MEDIUM, Priority.LOW]
        priorities = [order.index(one.priority) for one in self.scene.engine.open()]
        assert priorities == sorted(priorities)

    def _new_events(self) -> list[Event]:
        new, self.checked = self.scene.out[self.checked :], len(self.scene.out)
        self._pending = [*getattr(self, "_pending", []), *new]
        taken, self._pending = self._pending, []
        return taken


SETTINGS = settings(
    max_examples=150,
    stateful_step_count=25,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_no_path_leads_from_an_active_high_condition_to_silence_without_a_logged_act() -> None:
    run_state_machine_as_test(WardNight, settings=SETTINGS)


# ---------------------------------------------------------------------- negative controls: the check on broken engines


class ForgetsLatches(AlarmEngine):
    """Ends every alarm with its condition."""

    def _perhaps_over(self, track):  # type: ignore[no-untyped-def]
        if track.alarm is not None and track.alarm.condition and track.cleared(self._clock):
            return [self._change(track, AlarmState.ENDED, track.alarm.priority, "condition over")]
        return super()._perhaps_over(track)


class SwallowsRestores(AlarmEngine):
    """Begins a restart with a clean screen."""

    def restore(self, alarms, now_us):  # type: ignore[no-untyped-def]
        return super().restore([], now_us)


class HoldsBackVf(AlarmEngine):
    """Lets any open alarm hold back VF."""

    def _held(self, track):  # type: ignore[no-untyped-def]
        if track.condition.kind == "ventricular_fibrillation" and self.open():
            return "something else is on"
        return super()._held(track)


class SwitchesOffAnything(AlarmEngine):
    """Lets a standby keep everything quiet."""

    def set_quiet(self, quiet, now_us):  # type: ignore[no-untyped-def]
        if quiet.standby is not None:
            quiet = type("All", (Quiet,), {"holder": lambda self, condition: self.standby})(quiet.standby)
        return super().set_quiet(quiet, now_us)


@pytest.mark.parametrize("broken", [ForgetsLatches, SwallowsRestores, HoldsBackVf, SwitchesOffAnything])
def test_the_check_finds_an_engine_that_falls_silent(broken: type[AlarmEngine]) -> None:
    machine = type("Broken", (WardNight,), {"engine_class": broken})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine, settings=settings(SETTINGS, max_examples=400, database=None, phases=[Phase.generate])
        )
