"""`bedside doctor ble` says in plain words why a patient has no data, and what to do."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from bedside.core import wire
from bedside.core.api import Ward
from bedside.provisioning.doctor import Diagnosis, doctor
from bedside.provisioning.wearable_doctor import explain
from bedside.settings import Home

pytestmark = pytest.mark.requirement("BLE-006", "PRV-001")

NOW_US = 1_780_000_000_000_000


def ward(
    *, link: str = "up", reason: str | None = None, battery: float | None = 80.0, signal: dict[str, Any] | None = None,
    completeness: dict[str, Any] | None = None,
) -> Ward:  # fmt: skip
    ecg = {
        "stream": "s", "kind": "ecg", "label": "I", "rate_hz": 130.0, "unit": "mV", "usable": True, "reason": None,
        "reason_text": None, "since_us": None, "newest_us": NOW_US - 500_000, **(signal or {}),
    }  # fmt: skip
    patient: dict[str, Any] = {
        "id": "p" * 32, "name": "A. Person", "bed": "Bed 4", "signals": [ecg],
        "wearables": [{"id": "w", "name": "Strap", "link": link, "battery_pct": battery, "reason": reason}],
    }  # fmt: skip
    if completeness is not None:
        patient["completeness"] = completeness
    parts = [{"name": "ble", "state": "ok", "detail": "1 of 1 wearables connected"}]
    return cast("Ward", {"time_us": NOW_US, "parts": parts, "patients": [patient]})


def of_the_bed(found: list[Diagnosis]) -> list[Diagnosis]:
    return [one for one in found if one.name == "Bed 4"]


def test_a_wearable_that_does_well_has_nothing_to_say() -> None:
    (one,) = of_the_bed(explain(ward(), {}))
    assert (one.level, one.found, one.advice) == ("ok", "Strap: connected, battery 80 %", "")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("link lost: its battery was nearly empty (2 %): charge it or change the battery", "charge it"),
        ("link lost: it had no skin contact just before: it was probably taken off", "put it on again"),
        ("link lost: it was heard faintly (-93 dBm): it is probably out of range", "ten metres"),
        ("not found within 20 s: this box's Bluetooth hears no device at all: its radio may be dead", "adapter"),
        ("this box's Bluetooth is switched off, missing or not allowed", "rfkill"),
        ("this box's Bluetooth service does not answer: is bluetoothd running?", "systemctl restart"),
        ("not found within 20 s: is it on, charged, worn and near?", "switch it off and on"),
    ],
)
def test_each_reason_of_a_lost_link_has_its_own_advice(reason: str, advice: str) -> None:
    (one,) = of_the_bed(explain(ward(link="lost", reason=reason), {}))
    assert one.level == "wrong" and reason in one.found and advice in one.advice


def test_connected_but_silent_or_without_contact_is_no_health() -> None:
    (off,) = of_the_bed(explain(ward(signal={"usable": False, "reason": "lead_off"}), {}))
    assert off.level == "wrong" and "does not touch the skin" in off.found and off.advice
    (silent,) = of_the_bed(explain(ward(signal={"newest_us": NOW_US - 40_000_000}), {}))
    assert silent.level == "wrong" and "no samples for 40 s" in silent.found
    (never,) = of_the_bed(explain(ward(signal={"newest_us": None}), {}))
    assert never.level == "wrong" and "no samples yet" in never.found
    poor = ward(signal={"usable": False, "reason": "motion", "reason_text": "Poor signal: motion"})
    assert [one.level for one in of_the_bed(explain(poor, {}))] == ["note"]


def test_battery_completeness_clock_and_memory_are_told() -> None:
    hours = [{"hour_us": 0, "share": 0.5, "lost_s": {"link_lost": 1500.0, "packets_lost": 3.0}}]
    told = ward(battery=6.0, completeness={"since_us": 0, "share": 0.581, "missing_s": 1510.0, "hours": hours})
    clock = {"kind": "wearable_clock", "evidence": {"wearable": "w", "resets": 2, "uncertainty_us": 70_000}}
    memory = {"kind": "back_fill", "evidence": {"wearable": "w", "failed": "WearableError"}}
    found = of_the_bed(explain(told, {"p" * 32: [clock, memory]}))
    text = "\n".join(one.found for one in found)
    for words in ("battery 6 %", "58.1 % of the ECG came", "link lost", "jumped 2 times", "could not be fetched"):
        assert words in text
    assert "A. Person" not in text, "names stay on the ward's screens"


def serve(path: Path, answers: dict[str, Any]) -> threading.Thread:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)

    def run() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            while (request := wire.receive_frame(connection)) is not None:
                result = answers[request["op"]]
                connection.sendall(wire.frame({"v": 1, "id": request["id"], "ok": True, "result": result}))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_command_asks_the_running_gateway_and_its_exit_says_whether_something_is_wrong(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    home.gateway_socket.parent.mkdir(parents=True, exist_ok=True)
    thread = serve(home.gateway_socket, {"ward": ward(link="lost", reason="link lost"), "events": []})
    result = CliRunner().invoke(doctor, ["ble", "--home", str(tmp_path), "--json"])
    thread.join()
    assert result.exit_code == 1
    assert [one["level"] for one in json.loads(result.output)] == ["ok", "wrong"]


def test_without_a_gateway_it_says_how_to_start_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(doctor, ["ble", "--home", str(tmp_path)])
    assert result.exit_code != 0 and "no gateway answers" in str(result.exception)
