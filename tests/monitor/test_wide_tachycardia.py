"""A simulated body's ventricular tachycardia is alarmed as such, though the classifier calls every beat normal."""

from __future__ import annotations

import random

import pytest
from tests.monitor.monitor_helpers import StubJudge

from bedside.alarms.watch import PatientWatch
from bedside.core.codes import StreamKind
from bedside.core.events import Alarm, AlarmState, Event, Rhythm, RhythmLabel
from bedside.core.ids import IdSource
from bedside.core.samples import Block, StreamInfo
from bedside.signal import rhythm
from bedside.simulation.bodies import SimulatedBody
from bedside.simulation.happenings import Happening, Timetable, What

pytestmark = pytest.mark.requirement("SIG-004")

HZ = 130
ECG = StreamInfo(
    id="e" * 32, patient="p" * 32, wearable="a" * 32, kind=StreamKind.ECG, label="I", rate_hz=float(HZ), unit="mV",
    unit_per_count=0.001, simulated=True,
)  # fmt: skip


def watched(seed: int, rate_bpm: float, *happenings: Happening, until_s: int, cut: int = 65) -> list[Event]:
    body = SimulatedBody(f"Body {seed} (simulated)", seed, Timetable(happenings, seed=seed), rate_bpm=rate_bpm)
    watch = PatientWatch(ECG.patient, IdSource(lambda: 0, random.Random(1)), StubJudge(), True)
    events: list[Event] = []
    for first in range(0, HZ * until_s, cut):
        counts = body.ecg_uv(first, cut)
        start_us = round(first * 1e6 / HZ)
        block = Block(stream=ECG, first_index=first, start_us=start_us, rate_hz=float(HZ), counts=counts)
        events += watch.feed(block).events
        events += watch.advance(block.end_us).events
    return events


def raised(events: list[Event]) -> dict[str, float]:
    """When each kind of alarm was first signalled, s."""
    first: dict[str, float] = {}
    for event in events:
        if isinstance(event, Alarm) and event.state is AlarmState.ACTIVE:
            first.setdefault(event.kind, event.changed_us / 1e6)
    return first


@pytest.mark.parametrize("seed", range(8))
def test_a_vt_that_the_model_calls_normal_is_alarmed_as_vt_within_ten_seconds(seed: int) -> None:
    vt = Happening(30, 8, What.VT, rate_bpm=170)
    events = watched(seed, 62.0 + seed, vt, until_s=42)
    assert 30 < raised(events)["ventricular_tachycardia"] < 35
    seen = [one for one in events if isinstance(one, Rhythm) and one.label == RhythmLabel.VT]
    assert seen[-1].evidence["classified_ventricular"] == 0  # the disagreement can be seen
    told = [one for one in events if isinstance(one, Alarm) and one.kind == "ventricular_tachycardia"]
    assert told[0].evidence["witness"] == "wide QRS against the patient's own"
    assert "(limit 5 at 100)" in told[0].text


def test_without_the_rule_that_vt_is_not_alarmed_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test above."""
    monkeypatch.setattr(rhythm, "WIDE_BEATS", 10**6)
    events = watched(1, 63, Happening(30, 8, What.VT, rate_bpm=170), until_s=42)
    assert "ventricular_tachycardia" not in raised(events)


@pytest.mark.parametrize("seed", range(8))
def test_a_supraventricular_tachycardia_is_not_alarmed_as_vt(seed: int) -> None:
    svt = Happening(30, 20, What.SVT, rate_bpm=180)
    assert "ventricular_tachycardia" not in raised(watched(seed, 62.0 + seed, svt, until_s=54))


def test_a_vt_from_the_first_second_on_is_alarmed() -> None:
    events = watched(3, 70, Happening(0, 20, What.VT, rate_bpm=170), until_s=14)
    assert raised(events)["ventricular_tachycardia"] < 10


@pytest.mark.parametrize("cut", [1, 37, 650])
def test_the_episode_is_the_same_however_the_stream_is_cut(cut: int) -> None:
    vt = Happening(12, 8, What.VT, rate_bpm=170)

    def told(size: int) -> list[tuple[int, int | None, object]]:
        events = watched(2, 75, vt, until_s=25, cut=size)
        found = [one for one in events if isinstance(one, Rhythm) and one.label == RhythmLabel.VT]
        return [(one.index, one.end_index, one.evidence) for one in found]

    assert told(65)
    assert told(cut) == told(65)
