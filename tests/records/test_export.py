"""Exports: read back by other programs they hold what was stored, gaps are gaps, and the act is in the audit."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wfdb
from click.testing import CliRunner, Result
from tests.records.records_world import (
    T0_US,
    alarm,
    beat,
    block,
    ecg_uv,
    ids,
    numeric,
    opened,
    patient,
    rhythm,
    second,
    stream,
)

from bedside.core.errors import SetupError, StoreError
from bedside.core.events import AlarmState, Audit
from bedside.core.ports import Batch
from bedside.core.samples import MISSING, Counts
from bedside.records.cli import records
from bedside.records.excerpt import segments_of
from bedside.records.export import export
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-006")

ADA = patient("Ada Secret", "Bed 9")
LEAD = stream(ADA)
GAP = range(20, 33)
SECONDS = 60


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BEDSIDE_PASSPHRASE_FILE", raising=False)
    store = opened(tmp_path / "home")
    store.put_patient(ADA)
    onset = replace(rhythm(ADA, T0_US + 5_000_000), stream=LEAD.id, index=650)
    ended = replace(onset, id=ids.event(), supersedes=onset.id, end_us=T0_US + 9_000_000, end_index=1170)
    for at_s in range(SECONDS):
        at_us = T0_US + at_s * 1_000_000
        blocks = [] if at_s in GAP else [second(LEAD, at_s)]
        events = [numeric(ADA, at_us, 70.0 + at_s), beat(ADA, LEAD, at_us + 400_000)]
        store.write(Batch(blocks, [*events, *([onset] if at_s == 5 else [ended] if at_s == 9 else [])]))
    store.write(Batch([], [alarm(ADA, T0_US + 40_000_000, AlarmState.ENDED, "a1")]))
    store.close()
    return tmp_path / "home"


def run(home: Path, form: str, *, start: str = "2026-01-01T00:00:10", end: str = "2026-01-01T00:00:50") -> Result:
    words = ["export", ADA.id, "--from", start, "--to", end, "--format", form, "--out", str(home.parent / form)]
    return CliRunner().invoke(records, [*words, "--home", str(home), "--json"])


def expected() -> Counts:
    """Seconds 10 to 50 as they were written, `MISSING` in the gap."""
    counts = np.full(40 * 130, MISSING, np.int32)
    for at_s in range(10, 50):
        if at_s not in GAP:
            counts[(at_s - 10) * 130 : (at_s - 9) * 130] = second(LEAD, at_s).counts
    return counts


def audits(home: Path) -> list[Audit]:
    store = opened(home)
    found = [one for one in store.events(ADA.id, 0, 2**62, ("audit",)) if isinstance(one, Audit)]
    store.close()
    return found


def test_wfdb_holds_every_sample_the_gap_and_what_was_found(home: Path) -> None:
    done = run(home, "wfdb")
    assert done.exit_code == 0, done.exception
    name = str(home.parent / "wfdb" / "ecg-MLII")
    record = wfdb.rdrecord(name, physical=False)
    found = record.d_signal[:, 0].astype(np.int64)
    assert np.array_equal(np.where(found == -32768, MISSING, found), expected())
    assert (record.fs, record.units, record.adc_gain) == (130, ["mV"], [1000.0])
    assert str(record.base_datetime) == "2026-01-01 00:00:10"
    physical = wfdb.rdrecord(name).p_signal[:, 0]
    assert np.isnan(physical[10 * 130 : 23 * 130]).all()
    assert np.isfinite(physical[: 10 * 130]).all()
    notes = wfdb.rdann(name, "atr")
    beats = [place for place, symbol in zip(notes.sample, notes.symbol, strict=True) if symbol == "V"]
    assert beats == [(at_s - 10) * 130 + 52 for at_s in range(10, 50) if at_s not in GAP]
    assert '"' in notes.symbol
    text = (home.parent / "wfdb" / "ecg-MLII.hea").read_text()
    assert ADA.id in text
    assert "Ada" not in text


def test_a_rhythm_is_told_once_with_its_end(home: Path) -> None:
    done = run(home, "edf", start="2026-01-01T00:00:00")
    assert done.exit_code == 0, done.exception
    import edfio

    edf = edfio.read_edf(home.parent / "edf" / "ecg-MLII.edf")
    assert [one for one in edf.annotations if "AFIB" in one.text] == [edfio.EdfAnnotation(5.0, 4.0, "(AFIB")]


def edf_signal(path: Path) -> tuple[dict[str, str], Counts]:
    """Header fields and digital samples of an EDF's first signal, by the specification (edfplus.info)."""
    data = path.read_bytes()
    count = int(data[252:256])
    head, at = {"start": data[168:184].decode(), "kind": data[192:197].decode()}, 256
    widths = {"label": 16, "transducer": 80, "unit": 8, "low": 8, "high": 8, "min": 8, "max": 8, "filter": 80, "n": 8}
    fields: dict[str, list[str]] = {}
    for name, width in widths.items():
        fields[name] = [data[at + width * k : at + width * (k + 1)].decode().strip() for k in range(count)]
        at += width * count
    n_samples = [int(n) for n in fields["n"]]
    table = np.frombuffer(data[256 * (count + 1) :], "<i2").reshape(int(data[236:244]), sum(n_samples))
    head |= {name: values[0] for name, values in fields.items()}
    return head, table[:, : n_samples[0]].reshape(-1).astype(np.int32)


def test_edf_read_by_its_specification_holds_every_sample_and_the_gap(home: Path) -> None:
    assert run(home, "edf").exit_code == 0
    path = home.parent / "edf" / "ecg-MLII.edf"
    head, found = edf_signal(path)
    assert np.array_equal(np.where(found == -32768, MISSING, found), expected())
    assert (head["start"], head["kind"], head["unit"]) == ("01.01.2600.00.10", "EDF+C", "mV")
    assert (float(head["low"]), float(head["high"])) == pytest.approx((-32.768, 32.767), rel=1e-6)
    assert (head["min"], head["max"]) == ("-32768", "32767")
    import edfio

    notes = list(edfio.read_edf(path).annotations)
    assert edfio.EdfAnnotation(10.0, 13.0, "gap") in notes
    assert sum(one.text == "beat V" for one in notes) == 27


def test_csv_holds_samples_numbers_and_events(home: Path) -> None:
    done = run(home, "csv")
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["samples"] == 27 * 130
    with (home.parent / "csv" / "ecg-MLII.csv").open(newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    wanted = expected()
    assert [row[1] == "" for row in rows] == (wanted == MISSING).tolist()
    assert [float(row[1]) for row in rows if row[1]] == (wanted[wanted != MISSING] * 0.001).tolist()
    assert rows[130][0] == "2026-01-01T00:00:11.000Z"
    with (home.parent / "csv" / "numerics.csv").open(newline="") as lines:
        assert [row["value"] for row in csv.DictReader(lines)] == [str(70.0 + at_s) for at_s in range(10, 50)]


@pytest.mark.parametrize("form", ["wfdb", "edf", "csv"])
def test_each_export_is_in_the_audit_before_and_after(home: Path, form: str) -> None:
    assert audits(home) == []
    assert run(home, form).exit_code == 0
    act, done = audits(home)
    assert (act.action, done.action) == ("export", "exported")
    assert act.actor.startswith("user ")
    assert act.detail["format"] == form
    assert act.detail["start"] == "2026-01-01T00:00:10.000Z"
    files = done.detail["files"]
    assert isinstance(files, dict)
    assert set(files) == {path.name for path in (home.parent / form).iterdir()}


def test_nothing_is_written_when_the_audit_cannot_be(home: Path) -> None:
    def refuse(act: Audit) -> None:
        raise StoreError("the disk is full")

    store = opened(home)
    folder = home.parent / "out"
    with pytest.raises(StoreError, match="full"):
        export(
            store,
            refuse,
            ids,
            patient=ADA.id,
            start_us=T0_US,
            end_us=T0_US + 10_000_000,
            form="csv",
            folder=folder,
            actor="nurse",
            now_us=T0_US,
        )
    assert not folder.exists()
    store.close()


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2025-01-01T00:00:00", "2025-01-01T01:00:00", "no samples"),
        ("2026-01-01T00:00:50", "2026-01-01T00:00:10", "must end after"),
        ("2026-01-01T00:00:00", "2026-02-01T00:00:00", "48 h"),
        ("yesterday", "2026-02-01T00:00:00", "no time"),
        ("2026-01-01T00:00:21", "2026-01-01T00:00:30", "no samples"),
    ],
)
def test_a_range_that_gives_nothing_is_refused_and_not_audited(home: Path, start: str, end: str, words: str) -> None:
    refused = run(home, "wfdb", start=start, end=end)
    assert isinstance(refused.exception, SetupError)
    assert words in str(refused.exception)
    assert not (home.parent / "wfdb").exists()
    assert audits(home) == []


def test_an_unknown_patient_and_a_full_folder_are_refused(home: Path) -> None:
    (home.parent / "csv").mkdir()
    (home.parent / "csv" / "kept").write_text("kept")
    refused = run(home, "csv")
    assert isinstance(refused.exception, SetupError)
    assert "not empty" in str(refused.exception)
    unknown = ["export", "nobody", "--from", "2026-01-01", "--to", "2026-01-02", "--out", str(home.parent / "x")]
    refused = CliRunner().invoke(records, [*unknown, "--home", str(home)])
    assert isinstance(refused.exception, SetupError)
    assert "nobody" in str(refused.exception)


def test_samples_stand_by_time_after_a_restart_and_in_a_new_segment_when_the_clock_went_back() -> None:
    counts = ecg_uv(130)[:130]
    hour_us = 3_600_000_000
    blocks = [
        block(LEAD, 0, counts, T0_US),
        block(LEAD, 130, counts, T0_US + 1_040_000),  # jitter
        block(LEAD, 260, counts, T0_US + 10_000_000),  # a restart: the index goes on
        block(LEAD, 390, counts, T0_US + 11_000_000 - hour_us),  # the clock was set back
    ]
    first, second_one = segments_of(blocks, 0, 2**62)
    assert first.gaps() == [(260, 1040)]
    assert np.array_equal(first.counts[130:260], counts)
    assert np.array_equal(first.counts[1300:], counts)
    assert first.place_of(265) == 1305
    assert (second_one.start_us, second_one.counts.size) == (T0_US + 11_000_000 - hour_us, 130)
    (cut,) = segments_of(blocks[:1], T0_US + 500_000, T0_US + 600_000)
    assert np.array_equal(cut.counts, counts[65:78])


def test_an_export_while_the_gateway_runs_is_refused_with_a_hint(home: Path) -> None:
    store = opened(home)
    refused = run(home, "wfdb")
    assert isinstance(refused.exception, SetupError)
    assert "in use" in str(refused.exception)
    store.close()
    assert Home(home).store_db.exists()
