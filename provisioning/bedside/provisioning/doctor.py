"""`bedside doctor`: what is wrong with this box, in words, and what to do about it.

Each check is a function of `Box` (what was looked at) and gives a `Diagnosis`; looking is done once, at
the edge, by `look`. For the biomedical engineer who installs the box, and for whoever is on the phone with her.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from bedside.core.errors import SetupError
from bedside.settings import Home, home_from, home_in_use, settings_from

DISK_BYTES_MIN = 2 * 10**9
DISK_BYTES_LOW = 10 * 10**9  # about three years of one patient's single-lead ECG
CLOCK_US_MIN = 1_764_547_200_000_000  # 2025-12-01: no box of this version is older


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What `look` found."""

    python: tuple[int, int]
    machine: str
    free_bytes: int | None
    home_writable: bool
    home: str
    now_us: int
    adapters: tuple[str, ...]
    bluetooth_kernel: bool
    dbus: bool
    model_errors: tuple[str, ...]
    runtime: str | None
    port: int
    port_free: bool
    settings_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One finding. `level`: ok, note (works, but know this) or wrong (monitoring suffers)."""

    name: str
    level: str
    found: str
    advice: str = ""


def _python(box: Box) -> Diagnosis:
    found = f"Python {box.python[0]}.{box.python[1]} on {box.machine}"
    if (3, 11) <= box.python <= (3, 13):
        return Diagnosis(name="python", level="ok", found=found)
    return Diagnosis(name="python", level="wrong", found=found, advice="use Python 3.11, 3.12 or 3.13")


def _disk(box: Box) -> Diagnosis:
    if not box.home_writable or box.free_bytes is None:
        advice = "choose another folder with BEDSIDE_HOME, or give this user the right to write"
        return Diagnosis(name="disk", level="wrong", found=f"{box.home} cannot be written", advice=advice)
    found = f"{box.free_bytes / 1e9:.1f} GB free in {box.home}"
    if box.free_bytes < DISK_BYTES_MIN:
        return Diagnosis(
            name="disk", level="wrong", found=found, advice="free some space: records stop when it is full"
        )
    low = box.free_bytes < DISK_BYTES_LOW
    return Diagnosis(
        name="disk", level="note" if low else "ok", found=found, advice="plan for more space" if low else ""
    )


def _clock(box: Box) -> Diagnosis:
    if box.now_us < CLOCK_US_MIN:
        return Diagnosis(name="clock", level="wrong", found="the box's clock stands before this software was made",
                         advice="set the clock: records, alarms and statements carry its time")  # fmt: skip
    return Diagnosis(name="clock", level="ok", found="plausible")


def _radio(box: Box) -> Diagnosis:
    if box.adapters and box.dbus:
        return Diagnosis(name="bluetooth", level="ok", found=", ".join(box.adapters))
    if not box.bluetooth_kernel:
        found, advice = "the kernel has no Bluetooth", "for real wearables use a kernel with Bluetooth"
    elif not box.adapters:
        found, advice = "no Bluetooth adapter", "plug one in, or switch it on (rfkill list)"
    else:
        found, advice = "no system message bus: BlueZ cannot be reached", "install and start dbus and bluez"
    return Diagnosis(name="bluetooth", level="note", found=found, advice=f"{advice}; the demonstration needs none")


def _models(box: Box) -> Diagnosis:
    if box.model_errors:
        return Diagnosis(name="models", level="wrong", found="; ".join(box.model_errors),
                         advice="install Bedside anew: beats are counted but not judged without the model")  # fmt: skip
    return Diagnosis(name="models", level="ok", found=f"run by {box.runtime}")


def _port(box: Box) -> Diagnosis:
    if box.port_free:
        return Diagnosis(name="port", level="ok", found=f"{box.port} is free")
    return Diagnosis(name="port", level="note", found=f"{box.port} is in use",
                     advice="by a running Bedside that is right; else choose another with --port")  # fmt: skip


def _settings(box: Box) -> Diagnosis:
    if box.settings_error is None:
        return Diagnosis(name="settings", level="ok", found="readable")
    return Diagnosis(name="settings", level="wrong", found=box.settings_error, advice="mend the file")


CHECKS: Sequence[Callable[[Box], Diagnosis]] = (_python, _settings, _disk, _clock, _radio, _models, _port)


def diagnose(box: Box) -> list[Diagnosis]:
    """All checks, in the order in which they are worth reading."""
    return [check(box) for check in CHECKS]


def look(home: Home) -> Box:
    """Look at this box. Changes nothing but makes the data folder."""
    settings_error, port = None, 8460
    home_writable, free_bytes = True, None
    try:
        home.make()
        free_bytes = shutil.disk_usage(home.path).free
    except (SetupError, OSError):
        home_writable = False
    try:
        port = settings_from(home).port
    except SetupError as error:
        settings_error = str(error)
    runtime, model_errors = _look_at_models()
    adapters = Path("/sys/class/bluetooth")
    bus = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/dbus/system_bus_socket")
    return Box(
        python=sys.version_info[:2], machine=platform.machine(), free_bytes=free_bytes, home_writable=home_writable,
        home=str(home.path), now_us=time.time_ns() // 1000, bluetooth_kernel=adapters.is_dir(),
        adapters=tuple(sorted(path.name for path in adapters.glob("hci*"))),
        dbus=Path(bus.removeprefix("unix:path=")).exists(), model_errors=model_errors, runtime=runtime,
        port=port, port_free=_port_free(port), settings_error=settings_error,
    )  # fmt: skip


def _look_at_models() -> tuple[str | None, tuple[str, ...]]:
    from bedside.models import shipped
    from bedside.models.inference import Model

    runtime, errors = None, []
    for name in ("beats", "rhythm"):
        try:
            runtime = Model.load(shipped.path(name)).runtime
        except SetupError as error:
            errors.append(str(error))
    return runtime, tuple(errors)


def _port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@click.command()
@click.argument("part", type=click.Choice(["box", "ble"]), default="box")
@click.option("--home", type=click.Path(path_type=Path), help="Data folder (default: BEDSIDE_HOME, or the user's).")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(part: str, home: Path | None, as_json: bool) -> None:
    """Say what is wrong with this box, and what to do. Exit 1 when something is.

    `bedside doctor ble` asks the running gateway why a patient has no data: link, contact, battery, clock, memory.
    """
    import json
    from dataclasses import asdict

    if part == "ble":
        from bedside.provisioning.wearable_doctor import explain, look_at_wearables

        found = explain(*look_at_wearables(home_in_use(home)))
    else:
        found = diagnose(look(home_from(home)))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            mark = {"ok": click.style("ok   ", fg="green"), "note": click.style("note ", fg="yellow")}
            click.echo(f"{mark.get(one.level, click.style('WRONG', fg='red'))}  {one.name:<10} {one.found}")
            if one.advice:
                click.echo(f"                  {one.advice}")
    if any(one.level == "wrong" for one in found):
        raise click.exceptions.Exit(1)
