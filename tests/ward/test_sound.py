"""What of the ward must be heard, who silenced it and for how long, and whether the box can be heard at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from virtual_hour import VirtualBox, run_virtually, virtual_box

from bedside.core.api import Ward
from bedside.core.errors import BedsideError
from bedside.core.events import Audit
from bedside.core.time import iso_utc
from bedside.supervisor import ask_all
from bedside.ward.heartbeat import REPORT_AGE_S, read_report

pytestmark = pytest.mark.requirement("ALM-006")

NOW_US = 1_772_323_200_000_000


async def ask(box: VirtualBox, op: str, **arguments: object) -> Any:
    return (await ask_all(box.home.gateway_socket, [{"op": op, **arguments}]))[0]


async def acknowledge_all(box: VirtualBox) -> None:
    ward = box.gateway.ward.view()
    for alarms in [ward["alarms"], *(one["alarms"] for one in ward["patients"])]:
        for alarm in alarms:
            if alarm["state"] != "acknowledged":
                await ask(box, "acknowledge", alarm=alarm["alarm"], by="Nurse Joy")


def visible(ward: Ward) -> Sequence[tuple[str, str, str]]:
    return [(a["alarm"], a["state"], a["priority"]) for one in ward["patients"] for a in one["alarms"]]


def audits(box: VirtualBox, action: str) -> list[Audit]:
    found = box.gateway._store.events(None, 0, 2**62, ("audit",))
    return [one for one in found if isinstance(one, Audit) and one.action == action]


def say(box: VirtualBox, kind: str, on: bool) -> None:
    box.gateway.ward.condition(kind, on, key="test", detail="a test")  # a key of ours: the gateway ends its own


def test_only_what_nobody_has_acknowledged_must_be_heard(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path, bodies=[]) as box:
            ward = box.gateway.ward
            await box.until(2)
            assert ward.sounding() == "none"
            say(box, "network", True)
            assert ward.sounding() == "low"
            say(box, "disk", True)
            assert ward.sounding() == "medium"
            await acknowledge_all(box)
            assert ward.sounding() == "none"
            ward.condition("patient_session_failed", True, key="x")
            assert ward.sounding() == "high"
            ward.condition("patient_session_failed", False, key="x")
            assert ward.sounding() == "high", "latched: it sounds until somebody has acknowledged it"

    run_virtually(main)


def test_a_pause_silences_by_name_what_sounds_and_ends_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path) as box:
            ward = box.gateway.ward
            await box.until(2)
            with pytest.raises(BedsideError, match="no alarm sounds"):
                await ask(box, "audio_pause", by="Nurse Joy")
            await box.until(60)
            loud, seen = ward.sounding(), visible(ward.view())
            assert loud != "none"
            for wrong in ({"by": " "}, {"by": "x", "seconds": 121}, {"by": "x", "seconds": 0}):
                with pytest.raises(BedsideError):
                    await ask(box, "audio_pause", **wrong)
            assert ward.sounding() == loud
            answer = await ask(box, "audio_pause", by="Nurse Joy", seconds=5)
            assert ward.sounding() == "none"
            view = ward.view()
            assert view["audio_paused_until_us"] == answer["audio_paused_until_us"]
            assert view["audio_paused_by"] == "Nurse Joy"
            assert visible(view) == seen, "a pause touches nothing that is seen"
            await box.until(64.9)
            assert ward.sounding() == "none"
            await box.until(66)
            assert ward.sounding() != "none" and "audio_paused_until_us" not in ward.view()
            (begun,) = audits(box, "audio_pause")
            (ended,) = audits(box, "audio_resume")
            assert (begun.actor, begun.detail["seconds"], ended.detail["why"]) == ("Nurse Joy", 5, "expired")

    run_virtually(main)


def test_a_more_urgent_alarm_breaks_through_a_pause_and_an_equal_one_stays_visual(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path, bodies=[]) as box:
            ward = box.gateway.ward
            await box.until(2)
            say(box, "disk", True)
            await ask(box, "audio_pause", by="Nurse Joy")
            await box.until(12)
            say(box, "records", True)  # of medium priority, as the first
            say(box, "network", True)  # low
            await box.until(22)
            assert ward.sounding() == "none"
            assert {one["kind"] for one in ward.view()["alarms"]} >= {"disk", "records", "network"}
            left_s = (ward.view()["audio_paused_until_us"] - ward.view()["time_us"]) / 1e6
            assert left_s == pytest.approx(100, abs=0.5)
            ward.condition("patient_session_failed", True, key="x")
            assert ward.sounding() == "high"
            assert "audio_paused_until_us" not in ward.view()
            assert [one.detail["why"] for one in audits(box, "audio_resume")] == []  # not yet written
            await box.until(24)
            assert [one.detail["why"] for one in audits(box, "audio_resume")] == ["a more urgent alarm"]

    run_virtually(main)


def test_a_pause_is_resumed_by_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path, bodies=[]) as box:
            await box.until(2)
            say(box, "disk", True)
            await ask(box, "audio_pause", by="Nurse Joy")
            with pytest.raises(BedsideError, match="name"):
                await ask(box, "audio_resume")
            await ask(box, "audio_resume", by="Nurse Ann")
            assert box.gateway.ward.sounding() == "medium"
            await box.until(5)
            assert [(one.actor, one.detail["why"]) for one in audits(box, "audio_resume")] == [
                ("Nurse Ann", "asked for")
            ]

    run_virtually(main)


def test_a_pause_survives_a_restart_and_is_not_prolonged_by_it(tmp_path: Path) -> None:
    async def first() -> int:
        async with virtual_box(tmp_path) as box:
            await box.until(60)
            answer = await ask(box, "audio_pause", by="Nurse Joy", seconds=120)
            until_us: int = answer["audio_paused_until_us"]
            return until_us

    async def second(until_us: int, start_s: float) -> tuple[Ward, str, str]:
        async with virtual_box(tmp_path, seed=2, start_s=start_s) as box:
            await box.until(1)
            early, view = box.gateway.ward.sounding(), box.gateway.ward.view()
            await box.until(until_us / 1e6 - NOW_US / 1e6 - start_s + 1)
            return view, early, box.gateway.ward.sounding()

    until_us = run_virtually(first)
    view, early, late = run_virtually(lambda: second(until_us, 70.0))
    assert view["audio_paused_by"] == "Nurse Joy"
    assert view["audio_paused_until_us"] == pytest.approx(until_us, abs=1_000_000), iso_utc(until_us)
    assert early == "none"
    assert late != "none"


# ---------------------------------------------------------------------- can the box be heard


@pytest.mark.parametrize(
    ("report", "state", "words"),
    [
        ({"player": "aplay", "verified": True}, "ok", "sounds through aplay"),
        ({"player": "aplay", "verified": False}, "ok", "not heard yet"),
        ({"player": "terminal bell", "verified": False}, "degraded", "no loudspeaker: terminal bell only"),
        ({"player": "terminal bell", "verified": False, "last_error": "code 1"}, "degraded", "(code 1)"),
        ({"player": "muted", "verified": False}, "degraded", "muted"),
        ({"player": "aplay", "verified": True, "time_us": NOW_US - 60_000_000}, "degraded", "nothing any more"),
        ({"player": "aplay"}, "degraded", "cannot be read"),
        (None, "degraded", "has not said that it runs"),
    ],
)
def test_a_loudspeaker_that_is_missing_or_silent_is_told(
    tmp_path: Path, report: dict[str, object] | None, state: str, words: str
) -> None:
    path = tmp_path / "annunciator.json"
    if report is not None:
        path.write_text(json.dumps({"time_us": NOW_US, "last_error": None, **report}))
    told, detail = read_report(path, NOW_US + round(REPORT_AGE_S * 1e6) - 1)
    assert told == state and words in detail


def test_a_box_without_a_loudspeaker_says_so_as_part_sound_and_alarm(tmp_path: Path) -> None:
    async def main() -> tuple[Ward, Ward]:
        async with virtual_box(tmp_path, bodies=[], demonstration=False) as box:
            await box.until(8)
            await ask(box, "part", part="annunciator", state="ok", detail="running")
            missing = box.gateway.ward.view()
            report = {"player": "aplay", "verified": True, "last_error": None}
            for second in range(9, 15):
                await box.until(second)
                at_us = box.gateway.ward.view()["time_us"]
                box.home.annunciator_report.write_text(json.dumps({"time_us": at_us, **report}))
            return missing, box.gateway.ward.view()

    missing, well = run_virtually(main)
    part = next(one for one in missing["parts"] if one["name"] == "annunciator")
    assert part["state"] == "degraded" and "no loudspeaker" in part["detail"]
    assert missing["audio"].startswith("no loudspeaker")
    assert "loudspeaker" in {one["kind"] for one in missing["alarms"]}
    assert next(one for one in well["parts"] if one["name"] == "annunciator")["state"] == "ok"
    assert well["audio"] == "on"
    assert "loudspeaker" not in {one["kind"] for one in well["alarms"]}
