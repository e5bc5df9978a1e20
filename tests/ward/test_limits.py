"""Limits of one patient through the gateway's socket: named, audited with the old value, kept over a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from virtual_hour import VirtualBox, run_virtually, virtual_box

from bedside.core.api import PatientView, Ward
from bedside.core.codes import Code
from bedside.core.errors import BedsideError
from bedside.core.events import Audit
from bedside.supervisor import ask_all

pytestmark = pytest.mark.requirement("ALM-008")


async def ask(box: VirtualBox, op: str, **arguments: object) -> Any:
    return (await ask_all(box.home.gateway_socket, [{"op": op, **arguments}]))[0]


def nora(ward: Ward) -> PatientView:
    return ward["patients"][0]


def shown(ward: Ward, code: Code) -> tuple[float | None, float | None]:
    return next((n["limit_low"], n["limit_high"]) for n in nora(ward)["numerics"] if n["code"] == code)


def audits(box: VirtualBox, patient: str, action: str) -> list[Audit]:
    found = box.gateway._store.events(patient, 0, 2**62, ("audit",))
    return [one for one in found if isinstance(one, Audit) and one.action == action]


def test_a_limit_is_changed_by_name_is_audited_with_the_old_one_and_stands_on_the_tile(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path) as box:
            await box.until(5)
            patient, other = (one["id"] for one in box.gateway.ward.view()["patients"][:2])
            before = await ask(box, "limits", patient=patient)
            assert [(one["code"], one["low"], one["high"]) for one in before] == [
                (Code.HEART_RATE, 50, 120), (Code.SPO2, 90, None),
            ]  # fmt: skip
            code = str(Code.HEART_RATE)
            now = await ask(box, "set_limit", patient=patient, code=code, low=45, high=130, by="Nurse Joy")
            assert (now["low"], now["high"], now["preset_high"], now["changed"]) == (45, 130, 120, True)
            ward = box.gateway.ward.view()
            assert shown(ward, Code.HEART_RATE) == shown(ward, Code.PULSE_RATE) == (45, 130)
            assert shown(ward, Code.SPO2) == (90, None)
            own = {n["code"] for n in nora(ward)["numerics"] if n.get("limit_changed")}
            assert own == {Code.HEART_RATE, Code.PULSE_RATE}
            assert nora(ward)["limits_changed"] is True and "limits_changed" not in ward["patients"][1]
            (audit,) = audits(box, patient, "set_limit")
            assert audit.actor == "Nurse Joy"
            assert audit.detail["before"]["rate_high"] == 120 and audit.detail["limits"]["rate_high"] == 130  # type: ignore[index, call-overload]
            assert audits(box, other, "set_limit") == []
            await ask(box, "set_limit", patient=patient, code=code, low=50, high=120, by="Nurse Joy")
            assert "limits_changed" not in nora(box.gateway.ward.view())

    run_virtually(main)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "MDC_ECG_HEART_RATE", "low": 50, "high": 300, "by": "x"},
        {"code": "MDC_ECG_HEART_RATE", "low": 95, "high": 90, "by": "x"},
        {"code": "MDC_ECG_HEART_RATE", "low": None, "high": None, "by": "x"},
        {"code": "asystole", "low": None, "high": None, "by": "x"},
        {"code": "MDC_PULS_OXIM_SAT_O2", "low": 85, "severe_low": 86, "by": "x"},
        {"code": "MDC_ECG_HEART_RATE", "low": 45, "high": 130, "by": " "},
    ],
)
def test_an_unsafe_or_nameless_limit_is_refused_changes_nothing_and_the_attempt_is_noted(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path) as box:
            await box.until(3)
            patient = nora(box.gateway.ward.view())["id"]
            with pytest.raises(BedsideError, match="set_limit"):
                await ask(box, "set_limit", patient=patient, **wrong)
            assert shown(box.gateway.ward.view(), Code.HEART_RATE) == (50, 120)
            await box.until(6)
            refused = audits(box, patient, "set_limit_refused")
            assert [one.actor for one in refused] == (["x"] if wrong["by"] == "x" else [])

    run_virtually(main)


@pytest.mark.parametrize("away_s", [60.0, 36_000.0])
def test_limits_are_in_force_again_after_a_restart_whenever_it_comes(tmp_path: Path, away_s: float) -> None:
    async def first() -> None:
        async with virtual_box(tmp_path) as box:
            await box.until(5)
            patient = nora(box.gateway.ward.view())["id"]
            await ask(box, "set_limit", patient=patient, code=str(Code.SPO2), low=86, severe_low=75, by="Nurse Joy")
            await box.until(10)

    async def later(start_s: float) -> tuple[Ward, Any]:
        async with virtual_box(tmp_path, seed=round(start_s), start_s=start_s) as box:
            await box.until(2)
            ward = box.gateway.ward.view()
            return ward, await ask(box, "limits", patient=nora(ward)["id"])

    run_virtually(first)
    for start_s in (10 + away_s, 20 + 2 * away_s):  # the second start finds what the first has noted anew
        ward, limits = run_virtually(lambda start_s=start_s: later(start_s))  # type: ignore[misc]
        assert shown(ward, Code.SPO2) == (86, None)
        assert next(one["severe_low"] for one in limits if one["code"] == Code.SPO2) == 75
        assert nora(ward)["limits_changed"] is True


def test_limits_are_noted_every_ten_minutes_while_they_differ(tmp_path: Path) -> None:
    async def main() -> int:
        async with virtual_box(tmp_path, bodies=None) as box:
            await box.until(2)
            patient = nora(box.gateway.ward.view())["id"]
            await ask(box, "set_limit", patient=patient, code=str(Code.SPO2), low=88, by="Nurse Joy")
            box.gateway.ward.limits_desk._said_s -= 600  # ten minutes of a whole ward would be a long test
            await box.until(5)
            return len(audits(box, patient, "limits_in_force"))

    assert run_virtually(main) == 1
