"""`bedside doctor` names what is wrong and what to do, and its exit code says whether anything is."""

from __future__ import annotations

import dataclasses
import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from bedside.provisioning.doctor import Box, diagnose, doctor

pytestmark = pytest.mark.requirement("PRV-001")

WELL = Box(
    python=(3, 11),
    machine="aarch64",
    free_bytes=10**11,
    home_writable=True,
    home="/data",
    now_us=1_800_000_000_000_000,
    adapters=("hci0",),
    bluetooth_kernel=True,
    dbus=True,
    model_errors=(),
    runtime="tflite-runtime 2.14.0",
    port=8460,
    port_free=True,
    settings_error=None,
)


def test_a_well_box_has_nothing_to_say() -> None:
    assert {one.level for one in diagnose(WELL)} == {"ok"}
    assert not any(one.advice for one in diagnose(WELL))


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        ({"python": (3, 14)}, "python", "wrong"),
        ({"free_bytes": 10**8}, "disk", "wrong"),
        ({"free_bytes": 5 * 10**9}, "disk", "note"),
        ({"home_writable": False}, "disk", "wrong"),
        ({"now_us": 0}, "clock", "wrong"),
        ({"adapters": ()}, "bluetooth", "note"),
        ({"dbus": False}, "bluetooth", "note"),
        ({"model_errors": ("beats.tflite: missing",)}, "models", "wrong"),
        ({"port_free": False}, "port", "note"),
        ({"settings_error": "bedside.toml: prot: unknown"}, "settings", "wrong"),
    ],
)
def test_each_fault_is_named_with_advice(change: dict[str, object], name: str, level: str) -> None:
    found = {one.name: one for one in diagnose(dataclasses.replace(WELL, **change))}  # type: ignore[arg-type]
    assert found[name].level == level
    assert found[name].advice
    assert all(one.level == "ok" for one in found.values() if one.name != name)


def test_the_command_looks_at_this_box(tmp_path: Path) -> None:
    result = CliRunner().invoke(doctor, ["--home", str(tmp_path), "--json"])
    found = {one["name"]: one for one in json.loads(result.output)}
    assert found["disk"]["level"] in ("ok", "note")
    assert found["models"]["level"] == "ok"
    assert result.exit_code == 0


def test_a_broken_settings_file_makes_the_exit_code_one(tmp_path: Path) -> None:
    (tmp_path / "bedside.toml").write_text("prot = 1\n")
    result = CliRunner().invoke(doctor, ["--home", str(tmp_path)])
    assert result.exit_code == 1
    assert "prot" in result.output


def test_a_port_that_another_program_holds_is_said(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        (tmp_path / "bedside.toml").write_text(f"port = {port}\n")
        result = CliRunner().invoke(doctor, ["--home", str(tmp_path)])
    assert f"{port} is in use" in result.output
