"""The appliance as processes: what a newcomer sees, and what survives when a process is frozen or killed."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from running_ward import RunningWard, bedside, running_ward, until

from bedside.cli import COMMANDS
from bedside.cli import bedside as bedside_group
from bedside.core.events import Audit
from bedside.records.store import open_store
from bedside.settings import Home
from bedside.supervisor import ask

pytestmark = pytest.mark.requirement("GWY-002", "GWY-004", "GWY-005")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWard]:
    with running_ward(tmp_path_factory.mktemp("ward") / "home") as running:
        running.link()
        yield running


def test_the_first_lines_say_what_runs_where_the_data_lie_and_how_to_stop(ward: RunningWard) -> None:
    text = ward.text()
    for word in ("operator", "annunciator", "gateway", "dashboard", "ready", "Ctrl-C", str(ward.home), "muted"):
        assert word in text
    assert "Never" in text.title()


def test_status_tells_the_health_of_each_part_and_the_newest_numbers(ward: RunningWard) -> None:
    def alive() -> dict[str, object] | None:
        now = ward.status()
        rates = [n["value"] for p in now["patients"] for n in p["numerics"] if n["code"] == "MDC_ECG_HEART_RATE"]
        return now if len(rates) == 4 and all(rates) else None

    now = until(alive, "four patients with a heart rate")
    parts = {part["name"]: part["state"] for part in now["parts"]}  # type: ignore[attr-defined]
    assert {"gateway", "ble", "models", "alarms", "records", "network", "dashboard", "annunciator"} <= set(parts)
    for name in ("gateway", "records", "models", "alarms", "dashboard"):
        assert parts[name] == "ok", name
    assert (ward.home / "run" / "gateway.sock").stat().st_mode & 0o777 == 0o600
    people = bedside("status", "--home", str(ward.home))
    assert "HR" in people.stdout and "SIMULATED" in people.stdout


def test_the_pages_need_the_one_time_link(ward: RunningWard) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{ward.port}/api/v1/ward", timeout=30)
    assert refused.value.code in (401, 403)


def test_the_operator_received_and_verified_and_says_so(ward: RunningWard) -> None:
    def verified() -> dict[str, object] | None:
        done = bedside("operator", "status", "--json", "--home", str(ward.home))
        view = json.loads(done.stdout) if done.returncode == 0 else None
        return view if view is not None and view["gateways"] and view["gateways"][0]["statements"]["verified"] else None

    until(verified, "a verified statement")


def test_a_second_gateway_on_the_same_data_is_refused_by_name(ward: RunningWard) -> None:
    done = bedside("gateway", "--demo", "--home", str(ward.home))
    assert done.returncode == 2
    assert str(ward.home) in done.stderr
    assert ward.status()["patients"]


def test_a_port_in_use_is_said_with_what_to_do(ward: RunningWard, tmp_path: Path) -> None:
    done = bedside("run", "--demo", "--home", str(tmp_path / "other"), "--port", str(ward.port), "--no-browser")
    assert done.returncode == 2
    assert str(ward.port) in done.stderr and "--port" in done.stderr


def test_a_frozen_gateway_is_said_by_the_annunciator(ward: RunningWard) -> None:
    pid = until(lambda: ward.pid("gateway"), "a gateway runs")
    until(lambda: "monitoring" in ward.heard(), "the annunciator hears the gateway")
    before = ward.heard().count("lost")
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: ward.heard().count("lost") > before, "frozen for long, and nobody said so", 30)
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: "MONITORING STOPPED" in ward.text(), "the terminal says what the annunciator heard")
    until(lambda: ward.heard()[-1] != "lost", "monitoring goes on")


def test_a_killed_gateway_is_said_started_again_and_raises_an_alarm(ward: RunningWard) -> None:
    pid = until(lambda: ward.pid("gateway"), "a gateway runs")
    stored_us = {one["id"]: one["stored_us"] for one in ward.status()["patients"]}
    assert all(stored_us.values())
    before = len(ward.heard())
    os.kill(pid, signal.SIGKILL)
    until(lambda: {"lost", "interrupted"} & set(ward.heard()[before:]), "killed, and nobody said so", 30)
    until(lambda: ward.pid("gateway") not in (None, pid), "the gateway is started again")

    def back() -> dict[str, object] | None:
        done = bedside("status", "--json", "--home", str(ward.home))
        return json.loads(done.stdout) if done.returncode in (0, 1) else None

    now = until(back, "the gateway answers again")
    kinds = [alarm["kind"] for alarm in now["alarms"]]  # type: ignore[attr-defined]
    assert "monitoring_interrupted" in kinds
    assert {one["id"] for one in now["patients"]} == set(stored_us)  # type: ignore[attr-defined]


def test_a_killed_dashboard_is_started_again_and_the_ward_says_so(ward: RunningWard) -> None:
    pid = until(lambda: ward.pid("dashboard"), "a dashboard runs")
    os.kill(pid, signal.SIGKILL)
    until(lambda: ward.pid("dashboard") not in (None, pid), "the dashboard is started again")

    def told() -> bool:
        question: dict[str, object] = {
            "op": "events",
            "patient": None,
            "start_us": 0,
            "end_us": 2**62,
            "types": ["alarm"],
        }
        events = cast("list[dict[str, Any]]", ask(Home(ward.home), question))
        return any(one["kind"] == "part_failed" and one["evidence"].get("part") == "dashboard" for one in events)

    until(told, "the ward tells that the dashboard failed")
    assert "dashboard" in ward.text().split("Stop", 1)[1]


def test_ctrl_c_ends_everything_cleanly_and_a_second_run_finds_the_records(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with running_ward(home) as first:
        first.link()
        until(lambda: all(one["stored_us"] for one in first.status()["patients"]), "records are written")
        ids = [one["id"] for one in first.status()["patients"]]
        assert first.stop() == 0
        assert "Ended." in first.text() and "killed" not in first.text()
        assert all(first.pid(part) is None for part in ("gateway", "dashboard", "operator", "annunciator"))
    with running_ward(home) as second:
        second.link()
        now = second.status()
        assert [one["id"] for one in now["patients"]] == ids
        assert not any(alarm["kind"] == "monitoring_interrupted" for alarm in now["alarms"])
        assert second.stop() == 0
    store = open_store(Home(home))
    try:
        assert store.previous_shutdown_clean
        starts = [
            one for one in store.events(None, 0, 2**62, ("audit",)) if isinstance(one, Audit) and one.action == "start"
        ]
        assert len(starts) == 2
    finally:
        store.close()


def test_everything_killed_at_once_loses_nothing_that_was_called_stored(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_ward(home) as ward:
        ward.link()
        until(lambda: all(one["stored_us"] for one in ward.status()["patients"]), "records are written")
        stored_us = {one["id"]: one["stored_us"] for one in ward.status()["patients"]}
        for part in ("gateway", "dashboard", "operator"):
            pid = ward.pid(part)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        ward.process.kill()
        until(lambda: "lost" in ward.heard(), "only the annunciator is left, and it says so", 30)
    store = open_store(Home(home))
    try:
        assert not store.previous_shutdown_clean
        for patient, until_us in stored_us.items():
            newest_us = store.newest_us(patient)
            assert newest_us is not None and newest_us >= until_us
            for info in store.streams(patient):
                blocks = list(store.blocks(info.id, 0, 2**62))
                assert blocks and all(block.counts.size for block in blocks)
    finally:
        store.close()


def test_a_wrong_passphrase_is_refused_before_anything_starts(tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse battery staple\n")
    home = Home(tmp_path / "home")
    open_store(home, passphrase="correct horse battery staple").close()
    phrase.write_text("wrong\n")
    done = bedside("run", "--demo", "--home", str(home.path), "--no-browser", BEDSIDE_PASSPHRASE_FILE=str(phrase))
    assert done.returncode == 2
    assert "passphrase" in done.stderr
    assert "staple" not in done.stderr and "Traceback" not in done.stderr


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = bedside("run", "--demo", "--home", str(tmp_path / "file" / "home"), "--no-browser")
    assert done.returncode == 2
    assert "data folder" in done.stderr and "--home" in done.stderr


@pytest.mark.parametrize(
    ("content", "word"),
    [(None, "no such record"), ("gone 1 360 1000\ngone.dat 16 200 11 1024 0 0 0 MLII\n", "gone.dat")],
)
def test_a_recording_that_cannot_be_played_is_named(tmp_path: Path, content: str | None, word: str) -> None:
    if content is not None:
        (tmp_path / "gone.hea").write_text(content)
    done = bedside("run", "--replay", str(tmp_path / "gone.hea"), "--home", str(tmp_path / "home"), "--no-browser")
    assert done.returncode == 2
    assert word in done.stderr and "Traceback" not in done.stderr


def test_without_a_patient_it_says_how_to_begin(tmp_path: Path) -> None:
    done = bedside("run", "--home", str(tmp_path))
    assert done.returncode == 2
    assert "--demo" in done.stderr


def test_help_lists_every_command_with_a_sentence() -> None:
    text = bedside("--help").stdout
    for name in COMMANDS:
        assert f"  {name} " in text, name
        result = CliRunner().invoke(bedside_group, [name, "--help"])
        assert result.exit_code == 0 and len(result.output.splitlines()) > 3, name
