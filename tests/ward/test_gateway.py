"""The whole ward on the virtual clock: what one patient's fault does to the others, and what a restart keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from made_up import heart_rate_at, one_patient
from virtual_hour import VirtualBox, run_virtually, virtual_box

from bedside.ble.session import WearableSession
from bedside.core import wire
from bedside.core.api import PatientView, Ward
from bedside.core.codes import Code
from bedside.core.samples import Item
from bedside.records.store import open_store
from bedside.settings import Home
from bedside.supervisor import ask_all
from bedside.ward.view import PatientBoard

pytestmark = pytest.mark.requirement("MON-001", "GWY-001", "GWY-003")


def patient(ward: Ward, start: str) -> PatientView:
    return next(one for one in ward["patients"] if one["name"].startswith(start))


def number(view: PatientView, code: Code) -> float | None:
    return next(one["value"] for one in view["numerics"] if one["code"] == code)


def test_a_newcomer_sees_four_living_patients_and_an_alarm_within_a_minute(tmp_path: Path) -> None:
    async def main() -> Ward:
        async with virtual_box(tmp_path) as box:
            await box.until(60)
            return box.gateway.ward.view()

    ward = run_virtually(main)
    assert len(ward["patients"]) == 4
    for one in ward["patients"]:
        assert one["state"] == "monitored"
        assert one["newest_sample_us"] is not None and ward["time_us"] - one["newest_sample_us"] < 2_000_000
        assert one["stored_us"] is not None and ward["time_us"] - one["stored_us"] < 3_000_000
        heart_rate = number(one, Code.HEART_RATE)
        assert heart_rate is not None and 30 < heart_rate < 200
    assert any(alarm["alarm_class"] == "physiological" for one in ward["patients"] for alarm in one["alarms"])
    assert [one["simulated"] for one in ward["patients"]] == [False, True, True, True]
    assert number(patient(ward, "Dora"), Code.SPO2) is not None
    assert {part["name"]: part["state"] for part in ward["parts"]}["models"] == "ok"
    assert ward["audio"].startswith("muted")


def test_a_fault_in_one_patients_session_is_loud_and_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = WearableSession.items
    faults: list[str] = []

    async def items(self: WearableSession) -> AsyncIterator[Item]:
        async for item in real(self):
            if self.config.name.endswith("3") and asyncio.get_running_loop().time() > 40 and len(faults) < 2:
                faults.append(self.config.id)
                raise ZeroDivisionError("a bug in one patient's session")
            yield item

    monkeypatch.setattr(WearableSession, "items", items)

    async def main() -> tuple[list[Ward], Ward]:
        async with virtual_box(tmp_path) as box:
            seen: list[Ward] = []
            for at_s in range(41, 52):
                await box.until(at_s)
                seen.append(box.gateway.ward.view())
            await box.until(90)
            return seen, box.gateway.ward.view()

    seen, later = run_virtually(main)
    assert len(faults) == 2
    for ward in seen:
        for one in ward["patients"]:
            if not one["name"].startswith("Victor"):
                newest_us = one["newest_sample_us"]
                assert newest_us is not None and ward["time_us"] - newest_us < 2_000_000
    assert any(patient(ward, "Victor")["state"] == "failed" for ward in seen)
    assert any(alarm["kind"] == "patient_session_failed" and alarm["condition"] for w in seen for alarm in w["alarms"])
    assert patient(later, "Victor")["state"] == "monitored"
    vt = [alarm for alarm in patient(later, "Victor")["alarms"] if alarm["kind"] == "ventricular_tachycardia"]
    assert vt, "an alarm that was open before the fault is open after it"


def test_an_acknowledgement_is_named_on_disk_and_survives_a_restart(tmp_path: Path) -> None:
    async def acknowledge(box: VirtualBox) -> tuple[str, Ward]:
        await box.until(60)
        one = next(a for p in box.gateway.ward.view()["patients"] for a in p["alarms"] if a["latching"])
        reply = await ask_all(
            box.home.gateway_socket, [{"op": "acknowledge", "alarm": one["alarm"], "by": "Nurse Joy"}]
        )
        assert reply[0]["state"] in ("acknowledged", "ended")  # type: ignore[index]
        return one["alarm"], box.gateway.ward.view()

    async def first() -> tuple[str, Ward]:
        async with virtual_box(tmp_path) as box:
            return await acknowledge(box)

    alarm, before = run_virtually(first)
    ids_before = [one["id"] for one in before["patients"]]
    store = open_store(Home(tmp_path))
    try:
        audits = [
            event for event in store.events(None, 0, 2**62, ("audit",)) if getattr(event, "action", "") == "acknowledge"
        ]
        assert [(getattr(one, "actor", ""), getattr(one, "detail", {})["alarm"]) for one in audits] == [
            ("Nurse Joy", alarm)
        ]
    finally:
        store.close()

    async def second() -> Ward:
        async with virtual_box(tmp_path, seed=2) as box:
            await box.until(5)
            return box.gateway.ward.view()

    after = run_virtually(second)
    assert [one["id"] for one in after["patients"]] == ids_before, "yesterday's patients are today's"
    assert all(a["alarm"] != alarm for one in after["patients"] for a in one["alarms"] if a["state"] == "active")


def test_an_alarm_nobody_answered_is_open_again_after_a_restart(tmp_path: Path) -> None:
    async def first() -> set[str]:
        async with virtual_box(tmp_path) as box:
            await box.until(60)
            return {a["alarm"] for p in box.gateway.ward.view()["patients"] for a in p["alarms"] if a["latching"]}

    async def second() -> set[str]:
        async with virtual_box(tmp_path, seed=2) as box:
            await box.until(3)
            return {a["alarm"] for p in box.gateway.ward.view()["patients"] for a in p["alarms"]}

    latched = run_virtually(first)
    assert latched
    assert latched <= run_virtually(second)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"op": "dance"}, "bad_request"),
        ({"op": "strip", "patient": "nobody"}, "unknown_patient"),
        ({"op": "events", "patient": None, "start_us": "soon", "end_us": 1}, "bad_request"),
        ({"op": "acknowledge", "alarm": "none", "by": "x"}, "unknown_alarm"),
        ({"op": "acknowledge", "alarm": "none", "by": " "}, "bad_request"),
        ({"op": "part", "part": "x", "state": "splendid"}, "bad_request"),
    ],
)
def test_a_bad_request_gets_a_reason_and_harms_nobody(tmp_path: Path, request_: dict[str, object], code: str) -> None:
    async def main() -> tuple[dict[str, object], bool]:
        async with virtual_box(tmp_path) as box:
            await box.until(2)
            reader, writer = await asyncio.open_unix_connection(box.home.gateway_socket)
            writer.write(wire.frame({"v": 1, "id": 7, **request_}))
            reply = await wire.read_frame(reader)
            writer.close()
            rubbish_reader, rubbish = await asyncio.open_unix_connection(box.home.gateway_socket)
            rubbish.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await rubbish_reader.read() == b""
            rubbish.close()
            await box.until(4)
            assert reply is not None
            return reply, not box.task.done()

    reply, alive = run_virtually(main)
    assert reply["ok"] is False and reply["id"] == 7
    assert reply["error"]["code"] == code  # type: ignore[index]
    assert alive


def test_viewers_get_the_same_waves_and_catch_up_after_they_were_away(tmp_path: Path) -> None:
    async def main() -> tuple[list[int], list[int], dict[str, list[int]]]:
        async with virtual_box(tmp_path) as box:
            await box.until(10)

            async def watch(after: int | None, batches: int) -> list[dict[str, object]]:
                reader, writer = await asyncio.open_unix_connection(box.home.gateway_socket, limit=2**20)
                writer.write(wire.frame({"v": 1, "id": 1, "op": "subscribe", "after": after}))
                seen: list[dict[str, object]] = []
                while len(seen) < batches:
                    message = await wire.read_frame(reader)
                    assert message is not None
                    seen.append(message)
                writer.close()
                return seen

            first = await watch(None, 20)
            await box.until(30)
            last = first[-1]["sequence"]
            assert isinstance(last, int)
            missed = await watch(last, 40)
            indices: dict[str, list[int]] = {}
            for batch in [*first, *missed]:
                for wave in batch["waves"]:  # type: ignore[attr-defined]
                    indices.setdefault(wave["stream"], []).append(wave["first_index"])
            return [b["sequence"] for b in first], [b["sequence"] for b in missed], indices  # type: ignore[misc]

    first, missed, indices = run_virtually(main)
    assert [*first, *missed] == list(range(first[0], first[0] + 60)), "no batch is lost between two visits"
    assert len(indices) == 4
    assert all(one == sorted(one) for one in indices.values())


def test_a_number_that_is_too_old_is_never_shown() -> None:

    board = PatientBoard(one_patient(), {}, {})
    board.event(heart_rate_at(1_000_000, 72.0))
    fresh = board.view([], 5_000_000, None)
    stale = board.view([], 20_000_000, None)
    assert number(fresh, Code.HEART_RATE) == 72.0
    assert number(stale, Code.HEART_RATE) is None
    assert next(one["reason"] for one in stale["numerics"] if one["code"] == Code.HEART_RATE)
    assert json.dumps(stale)
