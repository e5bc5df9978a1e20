"""A wheel holds everything that runs: code of all five components, pages, tables, schema, and the models."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_wheel_carries_all_components_and_its_models_run_from_there(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, timeout=240)
    (wheel,) = tmp_path.glob("bedside-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    for name in (
        "bedside/cli.py",
        "bedside/signal/lead.py",
        "bedside/models/shipped/beats.tflite",
        "bedside/models/shipped/rhythm.tflite",
        "bedside/models/shipped/manifest.sig",
        "bedside/provisioning/doctor.py",
        "bedside/compliance/trace.py",
        "bedside/alarms/conditions.toml",
        "bedside/attestation/statement.cddl",
        "bedside/dashboard/templates/ward.html",
    ):
        assert name in names, name
    assert not any(name.startswith("bedside/__init__") for name in names)
    program = "from bedside.models import checking, shipped; checking.check(shipped.folder()); print(shipped.folder())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout
