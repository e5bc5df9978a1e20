"""Who did what can be read, sorted out and taken along; an export for one reader opens with that reader's key alone."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.records.records_world import T0_US, alarm, ids, numeric, opened, patient, second, stream

from bedside.core.errors import SetupError, StoreError
from bedside.core.events import AlarmState, Audit
from bedside.core.ports import Batch
from bedside.records import parcel
from bedside.records.cli import records
from bedside.records.store import open_reader
from bedside.records.trail import Act, as_csv, trail
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-006")

ADA = patient("Ada Secret")
LEAD = stream(ADA)
END = T0_US + 10**12


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BEDSIDE_PASSPHRASE_FILE", raising=False)
    store = opened(tmp_path / "home")
    store.put_patient(ADA)
    raised = alarm(ADA, T0_US + 5, AlarmState.ACTIVE, "a1")
    taken = replace(raised, id=ids.event(), state=AlarmState.ACKNOWLEDGED, by="nurse B", changed_us=T0_US + 9)
    saw = Audit(id=ids.event(), patient=ADA.id, start_us=T0_US + 7, actor="nurse A", action="saw", detail={"page": "x"})
    box = Audit(id=ids.event(), patient=None, start_us=T0_US + 1, actor="gateway", action="start")
    for at_s in range(10):
        store.write(Batch([second(LEAD, at_s)], [numeric(ADA, T0_US + at_s * 1_000_000)]))
    store.write(Batch([], [raised, saw, taken, box]))
    store.close()
    return tmp_path / "home"


def run(*words: str) -> Result:
    return CliRunner().invoke(records, list(words))


def acts(home: Path, **only: str) -> list[Act]:
    reader = open_reader(Home(home))
    try:
        return trail(reader, T0_US, END, **only)
    finally:
        reader.close()


def test_acts_of_box_and_patients_and_acknowledgements_stand_in_one_order(home: Path) -> None:
    assert [(one.patient, one.actor, one.action) for one in acts(home)] == [
        ("box", "gateway", "start"),
        (ADA.id, "nurse A", "saw"),
        (ADA.id, "nurse B", "acknowledged an alarm"),
    ]
    assert [one.action for one in acts(home, patient="box")] == ["start"]
    assert [one.action for one in acts(home, patient=ADA.id, actor="nurse A")] == ["saw"]
    assert acts(home, action="erased") == []
    with pytest.raises(SetupError, match="no patient"):
        acts(home, patient="nobody")


def test_the_command_prints_json_and_csv_of_the_same_acts(home: Path) -> None:
    words = ["audit", "--home", str(home), "--from", "2026-01-01T00:00:00", "--to", "2026-01-02T00:00:00"]
    lines = [json.loads(line) for line in run(*words, "--json").output.splitlines()]
    table = list(csv.DictReader(io.StringIO(run(*words, "--csv").output)))
    assert [one["actor"] for one in lines] == [one["actor"] for one in table] == ["gateway", "nurse A", "nurse B"]
    assert "Secret" not in run(*words).output
    assert "nothing in this time" in run(*words[:3], "--to", "2025-01-01T00:00:00").output


def test_no_cell_is_run_as_a_formula_by_a_spreadsheet() -> None:
    text = as_csv([Act(T0_US, "box", "=cmd|' /C calc'!A0", "@x", "+1")])
    (row,) = csv.DictReader(io.StringIO(text))
    assert [row["actor"][0], row["action"][0], row["detail"][0]] == ["'", "'", "'"]


def export(home: Path, out: Path, *more: str) -> Result:
    words = ["export", ADA.id, "--from", "2026-01-01T00:00:00", "--to", "2026-01-01T00:00:10", "--format", "csv"]
    return run(*words, "--out", str(out), "--home", str(home), *more)


def test_a_sealed_export_is_one_file_that_only_the_recipient_opens(home: Path, tmp_path: Path) -> None:
    key, other = tmp_path / "clinic.key", tmp_path / "other.key"
    for path in (key, other):
        assert run("recipient-key", str(path)).exit_code == 0
        assert path.stat().st_mode & 0o077 == 0
    assert export(home, tmp_path / "plain").exit_code == 0
    sealed = export(home, tmp_path / "sealed", "--seal-to", f"{key}.pub")
    assert sealed.exit_code == 0, sealed.output
    (file,) = (tmp_path / "sealed").iterdir()
    assert b"time_utc" not in file.read_bytes()
    assert b"time_utc" in (tmp_path / "plain" / "numerics.csv").read_bytes()
    opened_by = run("open-export", str(file), "--key", str(key), "--out", str(tmp_path / "opened"))
    assert opened_by.exit_code == 0, opened_by.output
    names = sorted(path.name for path in (tmp_path / "plain").iterdir())
    assert sorted(path.name for path in (tmp_path / "opened").iterdir()) == names
    for name in names:
        assert (tmp_path / "opened" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    refused = run("open-export", str(file), "--key", str(other), "--out", str(tmp_path / "no"))
    assert isinstance(refused.exception, StoreError)
    assert not (tmp_path / "no").exists()
    reader = open_reader(Home(home))
    (act,) = [one for one in trail(reader, 0, 2**62, action="export") if "sealed_to" in one.detail]
    reader.close()
    assert parcel.public_key(Path(f"{key}.pub")).id.hex() in act.detail


def test_an_altered_parcel_and_a_wrong_key_file_are_refused(home: Path, tmp_path: Path) -> None:
    key = tmp_path / "clinic.key"
    public = parcel.make_key(key)
    assert isinstance(export(home, tmp_path / "x", "--seal-to", str(key)).exception, SetupError)  # the secret one
    assert not (tmp_path / "x").exists()
    assert export(home, tmp_path / "sealed", "--seal-to", str(public)).exit_code == 0
    file = tmp_path / "sealed" / parcel.NAME
    whole = file.read_bytes()
    for at in (0, len(parcel.MAGIC) + 5, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(StoreError):
            parcel.open_parcel(file, parcel.secret_key(key), tmp_path / "out")
    with pytest.raises(SetupError):
        parcel.make_key(key)
    with pytest.raises(SetupError):
        parcel.secret_key(public)


def test_no_plain_file_is_left_in_memory(home: Path, tmp_path: Path) -> None:
    public = parcel.make_key(tmp_path / "clinic.key")
    before = set(Path("/dev/shm").glob("bedside-export-*"))
    assert export(home, tmp_path / "sealed", "--seal-to", str(public)).exit_code == 0
    assert set(Path("/dev/shm").glob("bedside-export-*")) == before
