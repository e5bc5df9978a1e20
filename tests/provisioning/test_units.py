"""The units: what systemd itself thinks of their confinement, that they agree with the package, and what stays open."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.requirement("PRV-002")

PROVISIONING = Path(__file__).parents[2] / "provisioning"
UNITS = sorted((PROVISIONING / "systemd").glob("*.service"))
SCORE_MAX = 1.5  # of 10; 0 is sealed off, 9.6 an unconfined service


def score(unit: Path) -> float:
    analyze = shutil.which("systemd-analyze")
    assert analyze is not None
    found = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(unit)], capture_output=True, text=True, check=False
    )
    said = re.search(r"exposure level for \S+: ([0-9.]+)", found.stdout)
    assert said is not None, found.stdout + found.stderr
    return float(said[1])


def test_there_is_a_unit_for_each_part_and_the_annunciator_is_not_the_gateways() -> None:
    assert [unit.stem for unit in UNITS] == [
        "bedside-annunciator", "bedside-dashboard", "bedside-gateway", "bedside-operator",
    ]  # fmt: skip
    target = (PROVISIONING / "systemd" / "bedside.target").read_text()
    assert all(unit.name in target for unit in UNITS)
    for script in ("postinst", "prerm"):
        text = (PROVISIONING / "debian" / script).read_text()
        assert all(unit.stem in text for unit in UNITS), script


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_systemd_finds_each_unit_well_confined(unit: Path) -> None:
    assert score(unit) <= SCORE_MAX


def test_a_unit_without_its_confinement_would_be_found(tmp_path: Path) -> None:
    """Negative control."""
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert score(bare) > 9


def test_the_gateway_is_watched_and_started_anew_without_end() -> None:
    text = (PROVISIONING / "systemd" / "bedside-gateway.service").read_text()
    assert "Type=notify" in text
    assert "WatchdogSec=30" in text
    for unit in UNITS:
        assert "Restart=always" in unit.read_text()
        assert "StartLimitIntervalSec=0" in unit.read_text()


def test_scripts_are_shell_that_parses() -> None:
    for name in ("build.sh", "bedside", "postinst", "prerm", "postrm"):
        path = PROVISIONING / "debian" / name
        assert path.stat().st_mode & 0o111, name
        subprocess.run(["/bin/sh", "-n", str(path)], check=True)
