"""`bedside records`: what a person reads, what a program reads, and the exit code."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.records.records_world import T0_US, numeric, opened, patient, second, stream

from bedside.core.errors import SetupError
from bedside.core.ports import Batch
from bedside.records.cli import records

ADA = patient("Ada Secret", "Bed 9")
LEAD = stream(ADA)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BEDSIDE_PASSPHRASE_FILE", raising=False)
    store = opened(tmp_path)
    store.put_patient(ADA)
    for at_s in range(5):
        store.write(Batch([second(LEAD, at_s)], [numeric(ADA, T0_US + at_s * 1_000_000)]))
    store.close()
    return tmp_path


def run(home: Path, *words: str, typed: str = "") -> Result:
    return CliRunner().invoke(records, [*words, "--home", str(home)], input=typed)


def test_show_counts_without_a_key_and_without_values(home: Path) -> None:
    (home / "keys" / "box.key").unlink()
    shown = run(home, "show", "--json")
    assert shown.exit_code == 0
    summary = json.loads(shown.stdout)
    box, ada = summary["owners"]
    assert (box["id"], ada["id"]) == ("box", ADA.id)
    assert (ada["streams"], ada["samples"], ada["events"]) == (1, 650, 5)
    assert (ada["start_us"], ada["end_us"]) == (T0_US, T0_US + 5_000_000)
    text = run(home, "show").stdout
    assert "650 samples, 5 events" in text
    assert "2026-01-01T00:00:00.000Z to 2026-01-01T00:00:05.000Z" in text
    assert "Ada" not in text


def test_verify_gives_0_and_a_head_or_1_and_a_name(home: Path) -> None:
    good = run(home, "verify", "--json")
    assert good.exit_code == 0
    report = json.loads(good.stdout)
    assert report["ok"]
    assert len(report["root"]) == 64
    assert report["root"] in run(home, "verify").stdout
    db = sqlite3.connect(home / "store.db")
    with db:
        db.execute("UPDATE entry SET start_us = start_us + 1 WHERE form = 3 AND seq = 3")
    db.close()
    bad = run(home, "verify")
    assert bad.exit_code == 1
    assert f"wave of {ADA.id}, 2026-01-01T00:00:02.000Z" in bad.stdout
    assert not json.loads(run(home, "verify", "--json").stdout)["ok"]


def test_verify_of_a_broken_file_gives_1(home: Path) -> None:
    path = home / "store.db"
    path.write_bytes(path.read_bytes()[:9000])
    broken = run(home, "verify")
    assert broken.exit_code == 1
    assert "damaged" in broken.stdout


def test_the_passphrase_can_be_set_changed_and_removed(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "sealed by a passphrase" in run(home, "passphrase", typed="\nnew words\nnew words\n").stdout
    refused = run(home, "verify")
    assert isinstance(refused.exception, SetupError)
    (tmp_path / "phrase").write_text("new words\n")
    monkeypatch.setenv("BEDSIDE_PASSPHRASE_FILE", str(tmp_path / "phrase"))
    assert run(home, "verify").exit_code == 0
    assert "steals the disk" in run(home, "passphrase", "--remove").stdout
    monkeypatch.delenv("BEDSIDE_PASSPHRASE_FILE")
    assert run(home, "verify").exit_code == 0


def test_a_folder_without_records_is_named(tmp_path: Path) -> None:
    for word in ("show", "verify", "passphrase"):
        found = run(tmp_path / "none", word)
        assert isinstance(found.exception, SetupError)
        assert str(tmp_path / "none") in str(found.exception)
