"""Standby, alarms off, the self-check, reviews, observations and what-if, by the socket of a whole ward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from virtual_hour import VirtualBox, run_virtually, virtual_box

from bedside.core.codes import Code
from bedside.core.errors import BedsideError
from bedside.core.events import Alarm, Audit, Suppression
from bedside.supervisor import ask_all
from bedside.ward import care

pytestmark = pytest.mark.requirement("ALM-013", "ALM-014")
SPO2 = str(Code.SPO2)


async def ask(box: VirtualBox, op: str, **arguments: object) -> Any:
    return (await ask_all(box.home.gateway_socket, [{"op": op, **arguments}]))[0]


def tile(box: VirtualBox, number: int = 0) -> Any:
    return box.gateway.ward.view()["patients"][number]


def kept(box: VirtualBox, patient: str | None, kind: type[Any], type_name: str) -> list[Any]:
    found = box.gateway._store.events(patient, 0, 2**62, (type_name,))
    return [one for one in found if isinstance(one, kind)]


def test_standby_has_a_name_is_shown_and_ends_by_itself_loudly(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path) as box:
            await box.until(5)
            patient = tile(box, 1)["id"]
            await ask(box, "standby", patient=patient, by="Nurse Joy", reason="X-ray", seconds=60)
            shown = tile(box, 1)
            assert shown["state"] == "standby"
            assert (shown["standby"]["by"], shown["standby"]["reason"]) == ("Nurse Joy", "X-ray")
            await box.until(64)
            assert tile(box, 1)["state"] == "standby"
            await box.until(66)
            assert tile(box, 1)["state"] == "monitored"
            (over,) = [one for one in tile(box, 1)["alarms"] if one["kind"] == "standby_ended"]
            assert (over["priority"], over["state"]) == ("medium", "latched")
            assert box.gateway.ward.sounding() in ("medium", "high")
            assert [one.detail["what"] for one in kept(box, patient, Audit, "audit") if one.action == "quiet"] == [
                "standby"
            ]

    run_virtually(main)


def test_a_lethal_alarm_is_told_in_standby_and_ends_it_and_a_high_alarm_refuses_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path) as box:
            await box.until(5)
            patient = tile(box, 2)["id"]
            await ask(box, "standby", patient=patient, by="Nurse Joy", reason="bath", seconds=600)
            await box.until(50)  # the demonstration's VT begins at 30 s
            shown = tile(box, 2)
            assert "ventricular_tachycardia" in {one["kind"] for one in shown["alarms"]}
            assert shown["state"] == "monitored"
            with pytest.raises(BedsideError, match="acknowledge it first"):
                await ask(box, "standby", patient=patient, by="Nurse Joy", reason="bath", seconds=600)

    run_virtually(main)


def test_an_alarm_that_is_off_is_shown_survives_a_restart_and_comes_on_again_by_itself(tmp_path: Path) -> None:
    async def before() -> str:
        async with virtual_box(tmp_path) as box:
            await box.until(5)
            patient = str(tile(box, 3)["id"])
            for kind in ("spo2_low", "lead_off"):
                await ask(box, "alarm_off", patient=patient, kind=kind, by="Dr No", reason="known COPD", seconds=70)
            await ask(box, "alarm_on", patient=patient, kind="lead_off", by="Dr No")
            assert set(tile(box, 3)["alarms_off"]) == {"spo2_low"}
            return patient

    async def after(patient: str) -> None:
        async with virtual_box(tmp_path, seed=2, start_s=20) as box:
            await box.until(2)
            (shown,) = [one for one in box.gateway.ward.view()["patients"] if one["id"] == patient]
            assert shown["alarms_off"]["spo2_low"]["by"] == "Dr No"
            await box.until(58)
            (shown,) = [one for one in box.gateway.ward.view()["patients"] if one["id"] == patient]
            assert "alarms_off" not in shown
            assert "alarm_on_again" in {one["kind"] for one in shown["alarms"]}

    patient = run_virtually(before)
    run_virtually(lambda: after(patient))


def test_nobody_turns_a_lethal_or_telling_alarm_off_and_the_attempt_is_noted(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path, demonstration=True) as box:
            await box.until(3)
            patient = tile(box)["id"]
            conditions = (await ask(box, "quiet", patient=patient))["conditions"]
            never = [one["kind"] for one in conditions if not one["can_be_off"]]
            assert {"asystole", "ventricular_fibrillation", "ventricular_tachycardia", "apnea", "desaturation"} <= set(
                never
            )
            for kind in [*never, "everything"]:
                with pytest.raises(BedsideError):
                    await ask(box, "alarm_off", patient=patient, kind=kind, by="Dr No", reason="quiet!", seconds=600)
            for wrong in ({"by": ""}, {"reason": " "}, {"seconds": 10**6}, {"seconds": True}):
                words = {"by": "Dr No", "reason": "x", "seconds": 600} | wrong
                with pytest.raises(BedsideError):
                    await ask(box, "alarm_off", patient=patient, kind="anomaly", **words)
            await box.until(5)
            refused = [one for one in kept(box, patient, Audit, "audit") if one.action == "alarm_off_refused"]
            assert len(refused) == len(never) + 1
            assert "alarms_off" not in tile(box)

    run_virtually(main)


def test_a_failing_alarm_system_is_a_high_alarm_and_a_test_sounds_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path, bodies=[]) as box:
            await box.until(3)
            ward = box.gateway.ward
            assert ward.sounding() == "none"
            assert await ask(box, "alarm_test", by="Nurse Joy", priority="high") == {"self_check": "passed"}
            assert ward.sounding() == "high"
            await box.until(16)
            assert ward.sounding() == "none"
            with monkeypatch.context() as patch:
                patch.setattr(care, "self_check", lambda _: "asystole was not signalled")
                await box.until(70)
                (alarm,) = ward.view()["alarms"]
                assert (alarm["kind"], alarm["priority"]) == ("alarm_system_failed", "high")
                assert ward.sounding() == "high"
            await box.until(130)
            assert ward.view()["alarms"] == []

    run_virtually(main)


def test_a_review_an_observation_a_trend_and_the_shift_are_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path) as box:
            await box.until(70)
            patient, start_us = tile(box, 2)["id"], box.gateway.ward.facts.started_us
            alarm = tile(box, 2)["alarms"][0]["alarm"]
            kinds = {"verdict": "reclassified", "label": "artefact", "comment": "brushing teeth"}
            await ask(box, "review", patient=patient, event=alarm, by="Dr Who", **kinds)
            for wrong in ({"verdict": "maybe"}, {"verdict": "reclassified", "label": "X"}, {"verdict": "comment"}):
                with pytest.raises(BedsideError):
                    await ask(box, "review", patient=patient, event=alarm, by="Dr Who", **wrong)
            (said,) = [one for one in kept(box, patient, Audit, "audit") if one.action == "review"]
            assert said.actor == "Dr Who" and said.detail["label"] == "artefact" and said.detail["event"] == alarm

            score = await ask(
                box, "observe", patient=patient, by="Nurse Joy", oxygen=True, alert=False, MDC_TEMP_BODY=39.4,
                MDC_PRESS_BLD_NONINV_SYS=95,
            )  # fmt: skip
            assert (
                score["points"] | {"oxygen": 2, "consciousness": 3, "temperature": 2, "pressure": 2} == score["points"]
            )
            assert any(n["value"] == 39.4 for n in tile(box, 2)["numerics"])
            with pytest.raises(BedsideError, match="expected 25 to 45"):
                await ask(box, "observe", patient=patient, by="Nurse Joy", MDC_TEMP_BODY=94)

            end_us = start_us + 70_000_000
            trend = await ask(
                box, "trend", patient=patient, code=str(Code.HEART_RATE), start_us=start_us, end_us=end_us, points=7
            )
            assert len(trend["points"]) == 7 and trend["points"][3][4] > 0
            shift = (await ask(box, "handover", start_us=start_us))["patients"][2]
            assert shift["counts"]["high"] >= 1 and shift["alarms"][0]["priority"] == "high"
            assert {one["action"] for one in shift["acts"]} == {"review", "observe"}
            tired = (await ask(box, "fatigue", start_us=start_us))["patients"][2]
            assert tired["alarms"] == sum(tired["kinds"].values()) and tired["per_day"] > 500

    run_virtually(main)


@pytest.mark.requirement("ALM-015")
def test_what_if_says_what_other_limits_would_have_done_and_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path) as box:
            await box.until(65)
            patient = tile(box, 3)["id"]
            before = await ask(box, "limits", patient=patient)
            alarms = len(kept(box, patient, Alarm, "alarm")) + len(kept(box, patient, Suppression, "suppression"))
            wish = {"code": str(Code.HEART_RATE), "low": 36, "high": 80}
            answer = await ask(box, "what_if", patient=patient, hours=1, **wish)
            assert answer["events"] > 50
            assert answer["then"]["total"] > answer["now"]["total"]
            slow = await ask(box, "what_if", patient=patient, hours=1, **wish, delay_s={"tachycardia": 30})
            assert slow["then"]["counts"]["tachycardia"] <= answer["then"]["counts"]["tachycardia"]
            for wrong in ({"low": 10}, {"hours": 25}, {"delay_s": {"asystole": 30}}, {"delay_s": {"tachycardia": 99}}):
                with pytest.raises(BedsideError):
                    await ask(box, "what_if", patient=patient, **({"hours": 1} | wish | wrong))
            assert await ask(box, "limits", patient=patient) == before
            now = len(kept(box, patient, Alarm, "alarm")) + len(kept(box, patient, Suppression, "suppression"))
            assert now - alarms <= 2  # nothing of the replay is kept; a ward goes on

    run_virtually(main)
