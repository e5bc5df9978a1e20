"""The twenty checks that an assessor makes on the first day, those of them that today's software reaches.

One test or more for each check, `test_check_NN_…`; which are reached in part, and which not, stands in the room's
README. Where a check needs signals they come through the same watch that the gateway runs; where it needs the
box, a whole ward runs on the virtual clock, or as a process that is really killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.alarms.alarm_scene import PATIENT, STRAP, S, Scene
from tests.alarms.watch_scene import START_US, Night, body_with
from tone_meter import faults, find_pulses, read_wav
from virtual_hour import VirtualBox, run_virtually, virtual_box

from bedside.alarms.audio import signalling
from bedside.alarms.engine import AlarmEngine
from bedside.alarms.table import default_table
from bedside.alarms.tones import bursts
from bedside.core import wire
from bedside.core.api import AlarmView, Ward
from bedside.core.codes import Code
from bedside.core.errors import BedsideError, StoreError
from bedside.core.events import Alarm, AlarmState, Audit, BeatClass, Priority, RhythmLabel
from bedside.core.ports import Batch
from bedside.core.samples import LinkState
from bedside.records.store import RecordStore
from bedside.simulation.happenings import Happening, What
from bedside.supervisor import ask_all

pytestmark = pytest.mark.requirement("ALM-001")

ACTIVE, ACKNOWLEDGED, LATCHED, ENDED = (
    AlarmState.ACTIVE,
    AlarmState.ACKNOWLEDGED,
    AlarmState.LATCHED,
    AlarmState.ENDED,
)


def heard(alarms: list[Alarm]) -> str | None:
    """The priority whose burst sounds for these alarms, if the burst is what the standard asks of it."""
    loudest = signalling(alarms)
    if loudest is None:
        return None
    assert faults(find_pulses(*read_wav(bursts()[loudest].wav())), loudest) == []
    return str(loudest)


async def ask(box: VirtualBox, op: str, **arguments: object) -> Any:
    return (await ask_all(box.home.gateway_socket, [{"op": op, **arguments}]))[0]


def shown(ward: Ward) -> list[AlarmView]:
    return [*ward["alarms"], *(alarm for one in ward["patients"] for alarm in one["alarms"])]


# ---------------------------------------------------------------------- rhythms


def test_check_01_asystole_is_red_in_10_s_sounds_10_pulses_latches_and_goes_by_a_named_acknowledgement() -> None:
    night = Night(body_with(Happening(30, 8, What.ASYSTOLE), rate_bpm=75))
    night.run(60)
    first, second = night.alarms("asystole")
    assert first.priority is Priority.HIGH
    assert first.raised_us - first.start_us <= 10 * S, "start: the last QRS"
    assert heard([first]) == "high"
    assert second.state is LATCHED and heard(night.watch.open()) == "high", "the rhythm is back; the alarm is not gone"
    with pytest.raises(ValueError, match="nobody is named"):
        night.watch.acknowledge(first.alarm, "", night.t_us)
    (ended,) = night.watch.acknowledge(first.alarm, "Nurse Joy", night.t_us)
    assert isinstance(ended, Alarm)
    assert (ended.state, ended.by) == (ENDED, "Nurse Joy")
    assert heard(night.watch.open()) is None


def test_check_02_vf_is_red_within_10_s() -> None:
    night = Night(body_with(Happening(30, 25, What.VF), rate_bpm=75))
    night.run(56)
    first = night.alarms("ventricular_fibrillation")[0]
    assert (first.priority, first.latching) == (Priority.HIGH, True)
    assert (first.raised_us - START_US) / S - 30 <= 10


@pytest.mark.parametrize("bpm", [99, 100, 101])
@pytest.mark.parametrize("beats", [4, 5, 6])
def test_check_03_vt_of_4_5_6_beats_at_99_100_101_falls_on_its_side_of_the_limit(beats: int, bpm: int) -> None:
    scene = Scene()
    scene.beat(BeatClass.V, 0.6)
    scene.beats(BeatClass.V, beats - 1, 60 / bpm)
    assert ("ventricular_tachycardia" in scene.open()) == (beats >= 5 and bpm >= 100)


# ---------------------------------------------------------------------- numbers


def test_check_04_a_rate_of_119_120_121_a_spike_and_a_swing_round_the_limit() -> None:
    def alarms(*values: float) -> int:
        scene = Scene()
        for value in values:
            scene.seconds(Code.HEART_RATE, value, 1)
        return scene.states("tachycardia").count(ACTIVE)

    assert [alarms(*[value] * 30) for value in (119.0, 120.0, 121.0)] == [0, 0, 1]
    assert alarms(*[100.0] * 10, 150.0, *[100.0] * 10) == 0
    assert alarms(*[122.0] * 10, *[119.0, 122.0] * 30) == 1, "hysteresis: one alarm, no chatter"


def test_check_05_spo2_of_89_for_9_s_and_16_s_and_of_79_at_once() -> None:
    for seconds, expected in ((9, 0), (16, 1)):
        scene = Scene()
        scene.seconds(Code.SPO2, 89.0, seconds)
        scene.seconds(Code.SPO2, 95.0, 20)
        assert scene.states("spo2_low").count(ACTIVE) == expected
    scene = Scene()
    scene.numeric(Code.SPO2, 79.0)
    assert scene.one("desaturation").raised_us == scene.now_us()


def test_check_06_apnoea_of_19_5_s_and_20_5_s() -> None:
    for silent_s, expected in ((19.5, 0), (20.5, 1)):
        scene = Scene()
        for wait_s in (4.0, 4.0, 4.0, silent_s):
            scene.wait(wait_s)
            scene.breath()
        assert scene.states("apnea").count(ACTIVE) == expected


# ---------------------------------------------------------------------- leads


def test_check_07_a_lead_that_falls_off_in_vt_is_technical_leaves_vt_latched_and_is_no_asystole() -> None:
    night = Night(body_with(Happening(20, 10, What.VT, rate_bpm=160), Happening(26, 30, What.LEAD_OFF), rate_bpm=75))
    night.run(54)
    assert night.states("ventricular_tachycardia")[-1] is LATCHED
    assert night.alarms("lead_off")[0].alarm_class == "technical"
    assert night.alarms("asystole") == []


def test_check_08_a_sensor_that_is_off_from_the_start_floods_nobody() -> None:
    night = Night(body_with(Happening(0, 100, What.LEAD_OFF), rate_bpm=75))
    night.run(90)
    assert {one.kind for one in night.alarms()} <= {"lead_off", "waiting_for_signal"}
    assert len(night.watch.open()) <= 2
    assert all(one.alarm_class == "technical" and one.priority is not Priority.HIGH for one in night.alarms())


# ---------------------------------------------------------------------- pause, acknowledgement, off


def test_check_10_a_worse_alarm_breaks_through_a_pause_an_equal_one_does_not_and_it_ends_at_120_s(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path, bodies=[]) as box:
            ward = box.gateway.ward
            await box.until(2)

            async def pause() -> None:
                await ask(box, "audio_pause", by="Nurse Joy", seconds=120)

            ward.condition("part_failed", True, key="first", part="x", detail="y")
            await pause()
            began_s = asyncio.get_running_loop().time()
            ward.condition("part_failed", True, key="equal", part="x", detail="y")
            assert ward.sounding() == "none"
            assert {one["state"] for one in shown(ward.view()) if one["kind"] == "part_failed"} == {"active"}
            await box.until(began_s + 30.25)
            first = await ask(box, "ward")  # what a page that is loaded anew is given
            assert first["audio_paused_until_us"] - first["time_us"] == pytest.approx(89.75 * S, abs=0.1 * S)
            await box.until(began_s + 119.9)
            assert ward.sounding() == "none"
            await box.until(began_s + 120.6)
            assert ward.sounding() == "medium"
            await pause()
            ward.condition("patient_session_failed", True, key="worse")
            assert ward.sounding() == "high"

    run_virtually(main)


def test_check_11_a_condition_that_stays_for_3_min_after_its_acknowledgement_speaks_again() -> None:
    scene = Scene()
    scene.seconds(Code.SPO2, 85.0, 15)
    alarm = scene.one("spo2_low")
    scene.tell(scene.engine.acknowledge(alarm.alarm, "Nurse Joy", scene.now_us()))
    scene.seconds(Code.SPO2, 85.0, 179)
    assert heard([scene.one("spo2_low")]) is None  # NEWS2 has meanwhile an alarm of its own
    scene.seconds(Code.SPO2, 85.0, 3)
    assert heard([scene.one("spo2_low")]) == "medium"
    assert scene.one("spo2_low").evidence["why"] == "reminder"


def test_check_12_nothing_turns_a_lethal_alarm_off_and_an_attempt_is_refused_and_noted(tmp_path: Path) -> None:
    lethal = {"asystole", "ventricular_fibrillation", "ventricular_tachycardia", "desaturation"}
    assert lethal <= {row.kind for row in default_table().conditions.values() if not row.can_be_off}

    async def main() -> list[Audit]:
        async with virtual_box(tmp_path) as box:
            await box.until(2)
            patient = box.gateway.ward.view()["patients"][0]["id"]
            attempts: list[dict[str, object]] = [{"code": kind} for kind in sorted(lethal)]
            attempts += [{"code": str(Code.SPO2), "low": 90, "severe_low": 0}, {"code": str(Code.SPO2), "low": None}]
            for attempt in attempts:
                with pytest.raises(BedsideError):
                    await ask(box, "set_limit", patient=patient, by="Dr No", **attempt)
            for op in ("alarm_off", "audio_off"):
                with pytest.raises(BedsideError):
                    await ask(box, op, patient=patient, by="Dr No")
            await box.until(4)
            found = box.gateway._store.events(patient, 0, 2**62, ("audit",))
            return [one for one in found if isinstance(one, Audit) and one.action == "set_limit_refused"]

    noted = run_virtually(main)
    assert [one.detail["code"] for one in noted][:4] == sorted(lethal)
    assert {one.actor for one in noted} == {"Dr No"} and len(noted) == 6


# ---------------------------------------------------------------------- the box


def test_check_13_a_power_cut_loses_no_alarm_state_latch_limit_or_log_and_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_box.py")), str(folder)],
        capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = json.loads(done.stdout)
    states = {one[1] for one in before["states"].values()}
    assert states == {"active", "acknowledged", "latched"}, "every state is put to the test"

    async def again() -> tuple[Ward, Any, set[str]]:
        async with virtual_box(folder, seed=2, start_s=90) as box:
            await box.until(0.9)
            ward = box.gateway.ward.view()
            limits = await ask(box, "limits", patient=before["patient"])
            log = {
                event.alarm
                for patient in (None, *(one["id"] for one in ward["patients"]))
                for event in box.gateway._store.events(patient, 0, before["time_us"], ("alarm",))
                if isinstance(event, Alarm)
            }
            return ward, limits, log

    ward, limits, log = run_virtually(again)
    now = {one["alarm"]: [one["kind"], one["state"], one["priority"], one["by"]] for one in shown(ward)}
    assert {alarm: now.get(alarm) for alarm in before["states"]} == before["states"]
    assert next(one["low"] for one in limits if one["code"] == Code.SPO2) == 87
    assert set(before["states"]) <= log
    (outage,) = [one for one in shown(ward) if one["kind"] == "monitoring_interrupted"]
    assert outage["evidence"]["since"] and outage["state"] == "latched"


@pytest.mark.parametrize("jump_us", [-3600 * S, 3600 * S, 24 * 3600 * S])
def test_check_14_a_clock_that_is_set_loses_and_repeats_no_alarm(jump_us: int) -> None:
    scene = Scene()
    scene.rhythm(RhythmLabel.VF, scene.t)
    scene.seconds(Code.SPO2, 85.0, 15)
    before = [(one.kind, one.state) for one in scene.engine.open()]
    scene.shift_us += jump_us
    scene.seconds(Code.SPO2, 85.0, 30)
    assert [(one.kind, one.state) for one in scene.engine.open()] == before
    assert scene.states("ventricular_fibrillation") == scene.states("spo2_low") == [ACTIVE]


def test_check_15_a_full_disk_leaves_alarms_sounding_and_is_an_alarm_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: RecordStore, batch: Batch) -> None:
        raise StoreError("no space left on the disk")

    async def main() -> tuple[Ward, str, str]:
        async with virtual_box(tmp_path) as box:
            await box.until(5)
            with monkeypatch.context() as patch:
                patch.setattr(RecordStore, "write", full)
                await box.until(62)
                ward, sounding = box.gateway.ward.view(), box.gateway.ward.sounding()
                for alarm in shown(ward):
                    if alarm["priority"] == "high":
                        with pytest.raises(BedsideError, match="records cannot be written"):
                            await ask(box, "acknowledge", alarm=alarm["alarm"], by="Nurse Joy")
                return ward, sounding, box.gateway.ward.sounding()

    ward, sounding, after = run_virtually(main)
    assert sounding == "high", "raised while nothing could be written"
    assert "records" in {one["kind"] for one in shown(ward)}
    assert after == "medium", "acknowledged all the same; that the records fail still sounds"


# ---------------------------------------------------------------------- screens, links


def test_check_16_what_one_viewer_acknowledges_is_cleared_at_the_other_within_a_second_and_without_viewers_it_sounds(
    tmp_path: Path,
) -> None:
    async def main() -> tuple[str, float, str]:
        async with virtual_box(tmp_path) as box:
            await box.until(62)
            alone = box.gateway.ward.sounding()
            (alarm, *_) = [one["alarm"] for one in shown(box.gateway.ward.view()) if one["priority"] == "high"]
            reader, writer = await asyncio.open_unix_connection(box.home.gateway_socket, limit=2**20)
            writer.write(wire.frame({"v": 1, "id": 1, "op": "subscribe", "after": None}))
            assert await wire.read_frame(reader) is not None
            await ask(box, "acknowledge", alarm=alarm, by="Nurse Joy")
            began_s = asyncio.get_running_loop().time()
            while True:
                batch = await wire.read_frame(reader)
                assert batch is not None
                if "ward" in batch and alarm not in {
                    one["alarm"] for one in shown(batch["ward"]) if one["state"] in ("active", "latched")
                }:
                    break
            took_s = asyncio.get_running_loop().time() - began_s
            writer.close()
            return alone, took_s, alarm

    alone, took_s, _ = run_virtually(main)
    assert alone == "high"
    assert took_s <= 1.0


@pytest.mark.parametrize(
    ("lost_s", "priorities"), [(5, ["low"]), (30, ["low"]), (61, ["low", "medium"]), (300.5, ["low", "medium", "high"])]
)
def test_check_17_a_link_that_is_lost_escalates_and_ends_when_it_is_back(lost_s: float, priorities: list[str]) -> None:
    scene = Scene()
    scene.link(LinkState.UP)
    scene.link(LinkState.LOST, STRAP)
    scene.wait(lost_s)
    assert [str(one.priority) for one in scene.alarms("link_lost")] == priorities
    scene.link(LinkState.UP)
    scene.wait(3.0)
    assert "link_lost" not in scene.open()


def test_check_18_a_patients_engine_takes_nothing_over_that_is_another_patients() -> None:
    scene = Scene()
    scene.seconds(Code.SPO2, 70.0, 3)
    alarms = scene.engine.open()
    assert {one.patient for one in alarms} == {PATIENT}
    other = AlarmEngine("q" * 32, scene.ids)
    with pytest.raises(ValueError, match="another patient"):
        other.restore(alarms, scene.now_us())
    with pytest.raises(ValueError, match="another patient"):
        other.feed(alarms[0], scene.now_us())
    assert other.open() == []


@pytest.mark.parametrize("name", ["high", "medium", "low", "stopped"])
def test_check_19_every_pulse_has_four_harmonics_within_15_db(name: str) -> None:
    pulses = find_pulses(*read_wav(bursts()[name].wav()))
    assert min(len(one.harmonics_hz) for one in pulses) >= 4
    assert all(150 <= one.fundamental_hz <= 1000 for one in pulses)
