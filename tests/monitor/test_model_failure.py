"""A beat model that fails while it runs: the rules go on, and a technical alarm says so until it judges again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.monitor.monitor_helpers import StubJudge, blocks, stream

from bedside.alarms.watch import PatientWatch
from bedside.core.errors import SetupError
from bedside.core.events import Alarm, AlarmClass, AlarmState, Numeric
from bedside.core.ids import IdSource
from bedside.core.samples import Counts
from bedside.models import shipped
from bedside.models.beats import BeatClassifier
from bedside.models.inference import Int8s, Model
from bedside.monitor.lead import BeatJudge
from bedside.simulation.bodies import SimulatedBody
from bedside.simulation.happenings import Timetable

pytestmark = pytest.mark.requirement("MOD-004")


class Flaky(Model):
    """The shipped model; `breaks` says for each call whether the runtime falls over."""

    calls = 0
    breaks: Callable[[int], bool]

    def run(self, batch: Int8s) -> Int8s:
        self.calls += 1
        if self.breaks(self.calls):
            raise RuntimeError("the interpreter died")
        return super().run(batch)


def flaky(breaks: Callable[[int], bool]) -> BeatClassifier:
    model = Flaky.load(shipped.path("beats"))
    model.breaks = breaks
    return BeatClassifier(model)


def simulated(seconds: float) -> Counts:
    return SimulatedBody("simulated", 3, Timetable(())).ecg_uv(0, round(seconds * 130))


def watched(judge: BeatJudge, seconds: float = 60) -> list[Any]:
    info = stream()
    now_us = 0
    watch = PatientWatch(info.patient, IdSource(lambda: now_us, random.Random(1)), judge, True)
    events: list[Any] = []
    for block in blocks(info, simulated(seconds), 65):
        now_us = block.end_us
        events += watch.feed(block).events
        events += watch.advance(now_us).events
    return events


def alarms(events: Sequence[Any]) -> list[tuple[AlarmState, bool]]:
    return [
        (event.state, event.condition) for event in events if isinstance(event, Alarm) and event.kind == "model_failed"
    ]


@pytest.mark.parametrize("judge", [flaky(lambda _: True), StubJudge(raise_after=20)], ids=["runtime", "exception"])
def test_a_model_that_fails_at_run_time_raises_a_technical_alarm_and_the_heart_rate_goes_on(judge: BeatJudge) -> None:
    events = watched(judge)
    raised = [event for event in events if isinstance(event, Alarm) and event.kind == "model_failed"]
    assert raised[-1].condition
    assert raised[-1].alarm_class is AlarmClass.TECHNICAL
    assert "not classified" in raised[-1].text
    rates = [event.value for event in events if isinstance(event, Numeric) and event.value is not None]
    assert rates[-1] == pytest.approx(72, abs=5)


def test_a_model_that_recovers_ends_the_alarm() -> None:
    events = alarms(watched(flaky(lambda call: 10 <= call < 30)))
    assert events[0][1] is True
    assert events[-1] == (AlarmState.ENDED, False)


def test_a_healthy_model_raises_no_such_alarm() -> None:
    assert alarms(watched(flaky(lambda _: False))) == []


def test_a_file_of_rubbish_never_becomes_a_model(tmp_path: Any) -> None:
    (tmp_path / "beats.tflite").write_bytes(b"\x00\x00\x00\x00TFL3" + bytes(100))
    with pytest.raises(SetupError):
        Model.load(tmp_path / "beats.tflite")
