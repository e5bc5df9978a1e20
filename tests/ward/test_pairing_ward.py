"""Pairing on a running gateway, over its own socket: monitored at once, kept over a restart, never of two patients."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from virtual_hour import VirtualBox, run_virtually, virtual_box

from bedside.ble.virtual import VirtualWearable
from bedside.ble.virtual.security import Security, Way
from bedside.core.codes import Code
from bedside.gateway import Body
from bedside.records.store import open_store
from bedside.settings import Home
from bedside.stage import bodies_for
from bedside.supervisor import ask_all

pytestmark = pytest.mark.requirement("BLE-007", "BLE-008")


def two_to_pair() -> list[Body]:
    """Two of the demonstration's patients, whose straps lie near the box and are nobody's yet."""
    return [dataclasses.replace(one, paired=False) for one in bodies_for(demo=True, replays=())[1:3]]


async def ask(box: VirtualBox, op: str, **arguments: Any) -> Any:
    (answer,) = await ask_all(box.home.gateway_socket, [{"op": op, **arguments}])
    return answer


def patients(box: VirtualBox) -> list[Any]:
    return list(box.gateway.ward.view()["patients"])


async def later(box: VirtualBox, seconds: float) -> None:
    await box.until(asyncio.get_running_loop().time() + seconds)


async def heard(box: VirtualBox) -> list[Any]:
    await ask(box, "pair_heard")
    await later(box, 3)
    found = await ask(box, "pair_heard")
    return sorted(found, key=lambda one: str(one["name"]))


async def pair(box: VirtualBox, patient: str, label: str, answers: dict[str, bool] | None = None, **more: Any) -> Any:
    """Begin, answer what is asked, and give the end of the attempt."""
    view = await ask(box, "pair_begin", patient=patient, label=label, by="Nurse Joy", staff=True, **more)
    assert "stage" in view, view
    for _ in range(240):
        if view["stage"] in ("paired", "refused", "undone"):
            await later(box, 0.2)
            return view
        question = view["question"]
        if question is not None:
            yes = (answers or {})[question["ask"]]
            view = await ask(box, "pair_answer", attempt=view["attempt"], answer=yes)
        else:
            await later(box, 0.5)
            view = await ask(box, "pair_state", attempt=view["attempt"])
    raise AssertionError(f"the attempt hangs: {view}")


def test_a_strap_becomes_hers_and_is_monitored_at_once_and_after_a_restart(tmp_path: Path) -> None:
    async def first() -> tuple[str, Any, str]:
        async with virtual_box(tmp_path, bodies=two_to_pair()) as box:
            await later(box, 5)
            before = patients(box)
            assert [one["state"] for one in before] == ["waiting_for_signal"] * 2
            assert [one["wearables"] for one in before] == [[], []]
            near = await heard(box)
            assert [one["kind"] for one in near] == ["strap", "strap"]
            assert "C0:BE" not in str(near), "an address is nobody's business"
            anna, label = before[0]["id"], near[0]["label"]
            view = await pair(box, anna, label, {"alike": True})
            assert view["stage"] == "paired" and view["battery_pct"] is not None and view["bond"] == "unauthenticated"
            await later(box, 12)
            now = patients(box)
            assert now[0]["state"] == "monitored" and now[0]["wearables"][0]["link"] == "up"
            assert now[1]["state"] == "waiting_for_signal"
            return anna, now[0]["wearables"], label

    async def second() -> list[Any]:
        async with virtual_box(tmp_path, bodies=two_to_pair(), start_s=100) as box:
            await later(box, 12)
            return patients(box)

    anna, wearables, _ = run_virtually(first)
    again = run_virtually(second)
    assert again[0]["id"] == anna and again[0]["state"] == "monitored"
    assert [one["id"] for one in again[0]["wearables"]] == [one["id"] for one in wearables]
    assert again[1]["wearables"] == []
    sealed = (tmp_path / "pairings.sealed").read_bytes()
    assert b"C0:BE" not in sealed and anna.encode() not in sealed
    store = open_store(Home(tmp_path))
    try:
        audits = [e for e in store.events(anna, 0, 2**62, ("audit",)) if getattr(e, "action", "") == "paired"]
        assert [getattr(e, "actor", "") for e in audits] == ["Nurse Joy"]
    finally:
        store.close()


def test_a_strap_moves_only_when_a_person_of_the_team_says_so_and_leaves_the_other_patient(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path, bodies=two_to_pair()) as box:
            await later(box, 2)
            anna, bert = (one["id"] for one in patients(box))
            label = (await heard(box))[0]["label"]
            await pair(box, anna, label, {"alike": True})
            await later(box, 8)
            with pytest.raises(Exception, match="belongs to somebody else"):
                await ask(box, "pair_begin", patient=bert, label=label, by="patient")
            no = await pair(box, bert, label, {"belongs": False})
            assert no["stage"] == "refused"
            assert patients(box)[0]["wearables"][0]["link"] == "up", "a no changes nothing"
            moved = await pair(box, bert, label, {"belongs": True, "alike": True})
            assert moved["stage"] == "paired"
            await later(box, 10)
            now = patients(box)
            assert now[0]["wearables"] == [] and not now[0]["signals"]
            assert now[1]["wearables"][0]["link"] == "up" and now[1]["state"] == "monitored"
            pairings = await ask(box, "pairings", patient=None)
            assert [one["patient"] for one in pairings] == [bert]

    run_virtually(main)


def test_an_undo_takes_it_back_and_a_wrong_label_is_no_wearable(tmp_path: Path) -> None:
    async def main() -> None:
        async with virtual_box(tmp_path, bodies=two_to_pair()) as box:
            await later(box, 2)
            anna = patients(box)[0]["id"]
            label = (await heard(box))[0]["label"]
            with pytest.raises(Exception, match="mistyped"):
                await ask(box, "pair_begin", patient=anna, label=("Z" if label[0] != "Z" else "Y") + label[1:], by="N")
            done = await pair(box, anna, label, typed=True)
            await later(box, 8)
            undone = await ask(box, "pair_undo", attempt=done["attempt"], by="Nurse Joy")
            assert undone["stage"] == "undone"
            assert patients(box)[0]["wearables"] == []
            assert await ask(box, "pairings", patient=anna) == []
            again = await pair(box, anna, label, typed=True)
            assert again["stage"] == "paired", "and it can be hers again"

    run_virtually(main)


@pytest.mark.parametrize("guarded", [True, False])
def test_a_copy_of_a_paired_strap_gives_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """The same address, name and serial number, without the bond. Control: unguarded, its data are taken for hers."""
    if not guarded:

        async def believe(*_: object) -> None:
            return

        monkeypatch.setattr("bedside.ble.desk.PairingDesk.prove", believe)

    async def main() -> tuple[Any, Any]:
        async with virtual_box(tmp_path, bodies=two_to_pair()) as box:
            await later(box, 2)
            anna = patients(box)[0]["id"]
            near = await heard(box)
            await pair(box, anna, near[0]["label"], {"alike": True})
            await later(box, 8)
            virtual = box.gateway.virtual
            assert virtual is not None
            strap = virtual.wearables[0]
            await strap.close()
            copy = VirtualWearable(strap.physiology, virtual.air, name=strap.name, address=strap.address)
            Security(copy.device, Way.JUST_WORKS)
            await copy.start()
            await later(box, 30)
            end = patients(box)[0], (await ask(box, "pairings", patient=anna))[0]
            await copy.close()
            return end

    view, pairing = run_virtually(main)
    rate = next(one for one in view["numerics"] if one["code"] == str(Code.HEART_RATE))
    if guarded:
        assert view["wearables"][0]["link"] != "up" and rate["value"] is None
        assert "does not hold the bond" in pairing["doubt"]
        assert any(one["kind"] == "link_lost" for one in view["alarms"])
    else:
        assert view["wearables"][0]["link"] == "up"


def test_a_box_that_replaces_this_one_takes_the_pairings_over(tmp_path: Path) -> None:
    words = "the words of the care site"

    async def old() -> tuple[str, Any]:
        async with virtual_box(tmp_path / "old", bodies=two_to_pair()) as box:
            await later(box, 2)
            anna = patients(box)[0]["id"]
            await pair(box, anna, (await heard(box))[0]["label"], typed=True)
            await later(box, 5)
            return anna, await ask(box, "pair_export", by="Admin", passphrase=words)

    anna, export = run_virtually(old)
    assert export["pairings"] == 1
    stranger = tmp_path / "new"

    async def new() -> Any:
        async with virtual_box(stranger, bodies=two_to_pair(), seed=2) as box:
            await later(box, 2)
            return await ask(box, "pair_import", by="Admin", passphrase=words, sealed=export["sealed"])

    assert run_virtually(new) == {"taken": 0, "left_out": 1, "pair_anew": 0}, "another site's patient is not made up"

    async def same_site() -> Any:
        async with virtual_box(tmp_path / "old", bodies=two_to_pair(), start_s=60) as box:
            await later(box, 2)
            (one,) = await ask(box, "pairings", patient=anna)
            await ask(box, "unpair", wearable=one["wearable"], by="Admin")
            virtual = box.gateway.virtual
            assert virtual is not None
            taken = await ask(box, "pair_import", by="Admin", passphrase=words, sealed=export["sealed"])
            (brought,) = await ask(box, "pairings", patient=anna)
            assert brought["proven"] is False
            await later(box, 20)
            return taken, (await ask(box, "pairings", patient=anna))[0], patients(box)[0]

    taken, brought, view = run_virtually(same_site)
    assert taken["taken"] == 1
    assert brought["proven"] is True and brought["doubt"] is None, "the strap still holds the bond that came along"
    assert view["wearables"][0]["link"] == "up" and view["state"] == "monitored"


def test_a_call_of_the_patient_is_an_alarm_until_the_team_has_seen_it(tmp_path: Path) -> None:
    async def main() -> tuple[Any, Any, Any]:
        async with virtual_box(tmp_path, bodies=bodies_for(demo=True, replays=())[1:2]) as box:
            await later(box, 10)
            anna = patients(box)[0]["id"]
            pressed = await ask(box, "patient_call", patient=anna)
            await later(box, 60)
            calls = [one for one in patients(box)[0]["alarms"] if one["kind"] == "patient_call"]
            assert len(calls) == 1
            await ask(box, "acknowledge", alarm=calls[0]["alarm"], by="Nurse Joy")
            await later(box, 2)
            after = [one for one in patients(box)[0]["alarms"] if one["kind"] == "patient_call"]
            return pressed, calls[0], after

    pressed, call, after = run_virtually(main)
    assert call["state"] == "latched" and call["priority"] == "medium"
    assert "I feel unwell" in call["text"]
    assert call["evidence"]["pressed_us"] == pressed["pressed_us"]
    assert after == []
