"""`bedside analyze`: what it writes follows from the recording alone, never from the blocks it was read in."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pytest
import wfdb
from click.testing import CliRunner
from tests.evaluate.evaluate_helpers import toy_mv, write_record

from bedside.core.errors import SetupError
from bedside.evaluate import analyze as analysis
from bedside.evaluate import cli
from bedside.evaluate.analyze import flatten
from bedside.simulation.bodies import SimulatedBody
from bedside.simulation.happenings import Happening, Timetable, What

pytestmark = pytest.mark.requirement("EVL-001")

KINDS = {
    "record", "rate_hz", "duration_s", "leads", "simulated", "complete", "fault", "versions", "alarms", "suppressed",
    "findings", "numerics", "rhythm", "unjudged", "cpu_s",
}  # fmt: skip


def run(record: Path, out: Path, *options: str) -> tuple[int, str]:
    """The command, as a person runs it; a `SetupError` is the top command's to print."""
    result = CliRunner().invoke(cli.analyze, [str(record), "--out", str(out), *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit | SetupError):
        raise result.exception
    return (2 if isinstance(result.exception, SetupError) else result.exit_code), f"{result.output}{result.exception}"


def without_cost(document: Path) -> bytes:
    """The document's bytes less what depends on the machine's mood."""
    values = json.loads(document.read_text())
    assert values.pop("cpu_s")
    return json.dumps(values).encode()


def simulated(folder: Path, seconds: float, *happenings: Happening) -> Path:
    body = SimulatedBody("simulated", 5, Timetable(happenings))
    return write_record(folder, "body", body.ecg_uv(0, round(seconds * 130)) / 1000, 130.0, ["II"])


def kinds(document: dict[str, Any]) -> list[str]:
    return [alarm["kind"] for alarm in document["alarms"]]


def test_blocks_of_half_a_second_a_prime_length_and_the_whole_give_the_same_bytes(tmp_path: Path) -> None:
    ecg_mv, fs_hz = toy_mv(90)
    base = write_record(tmp_path, "toy", ecg_mv, fs_hz, ["MLII"])
    for name, block_s in (("half", "0.5"), ("odd", "0.7727"), ("whole", "inf")):
        assert run(base, tmp_path / name, "--block-s", block_s)[0] == 0
    for name in ("odd", "whole"):
        half, other = tmp_path / "half", tmp_path / name
        assert (half / "toy.bedside").read_bytes() == (other / "toy.bedside").read_bytes()
        assert without_cost(half / "toy.json") == without_cost(other / "toy.json")


def test_single_samples_give_the_same_bytes_too(tmp_path: Path) -> None:
    record = simulated(tmp_path, 30, Happening(10, 12, What.ASYSTOLE))
    for name, block_s in (("single", "0"), ("half", "0.5")):
        assert run(record, tmp_path / name, "--block-s", block_s)[0] == 0
    assert (tmp_path / "single/body.bedside").read_bytes() == (tmp_path / "half/body.bedside").read_bytes()
    assert without_cost(tmp_path / "single/body.json") == without_cost(tmp_path / "half/body.json")
    assert "asystole" in kinds(json.loads((tmp_path / "half/body.json").read_text()))


def test_the_beats_of_a_real_lead_are_written_where_its_r_peaks_are(tmp_path: Path) -> None:
    ecg_mv, fs_hz = toy_mv(60)
    base = write_record(tmp_path, "toy", ecg_mv, fs_hz, ["MLII"])
    assert run(base, tmp_path / "out")[0] == 0
    written: Any = wfdb.rdann(str(tmp_path / "out/toy"), "bedside")
    beats = [int(at) for at, symbol in zip(written.sample, written.symbol, strict=True) if symbol in "NSVFQ"]
    assert 95 <= len(beats) <= 115
    assert set(written.symbol) <= set("NSVFQ+~")
    assert "(N" in {note.rstrip("\0") for note in written.aux_note}
    assert list(written.sample) == sorted(set(written.sample))
    steep = [np.ptp(ecg_mv[max(at - 18, 0) : at + 18]) for at in beats]  # every mark stands on something steep
    assert min(steep) > 0.4


def test_the_document_holds_what_the_contract_names(tmp_path: Path) -> None:
    record = simulated(tmp_path, 150, Happening(60, 15, What.ASYSTOLE), Happening(100, 20, What.VF))
    assert run(record, tmp_path / "out")[0] == 0
    document = json.loads((tmp_path / "out/body.json").read_text())
    assert set(document) == KINDS
    assert (document["record"], document["rate_hz"], document["leads"]) == ("body", 130.0, ["II"])
    assert document["complete"] is True
    assert document["duration_s"] == 150.0
    asystole = next(alarm for alarm in document["alarms"] if alarm["kind"] == "asystole")
    assert set(asystole) == {"kind", "priority", "start_s", "end_s", "raised_s", "latched", "evidence"}
    assert asystole["priority"] == "high"
    assert 58 < asystole["start_s"] < 61
    assert 0 < asystole["raised_s"] - asystole["start_s"] <= 10
    assert 74 < asystole["end_s"] < 80  # a latch does not prolong the condition
    fibrillation = next(alarm for alarm in document["alarms"] if alarm["kind"] == "ventricular_fibrillation")
    assert 0 < fibrillation["raised_s"] - 100 <= 10
    rates = [one for one in document["numerics"] if one["code"] == "MDC_ECG_HEART_RATE"]
    assert len(rates) == 150
    assert {span["label"] for span in document["rhythm"]} >= {"N", "ASYS", "VFL"}


def test_each_return_of_a_latched_condition_is_its_own_entry(tmp_path: Path) -> None:
    record = simulated(tmp_path, 140, Happening(40, 12, What.ASYSTOLE), Happening(90, 12, What.ASYSTOLE))
    assert run(record, tmp_path / "out")[0] == 0
    document = json.loads((tmp_path / "out/body.json").read_text())
    starts = [alarm["start_s"] for alarm in document["alarms"] if alarm["kind"] == "asystole"]
    assert starts == [pytest.approx(39.5, abs=1.5), pytest.approx(89.5, abs=1.5)]


def test_the_last_beats_of_a_recording_are_found(tmp_path: Path) -> None:
    record = simulated(tmp_path, 30)
    assert run(record, tmp_path / "out")[0] == 0
    truth = SimulatedBody("simulated", 5).beats_s(0.0, 29.9)
    written: Any = wfdb.rdann(str(tmp_path / "out/body"), "bedside")
    beats = [at / 130 for at, symbol in zip(written.sample, written.symbol, strict=True) if symbol in "NSVFQ"]
    assert beats[-1] == pytest.approx(truth[-1], abs=0.05)
    assert all(at < 30 * 130 for at in written.sample)


def test_a_short_recording_is_written_as_far_as_it_goes_and_marked(tmp_path: Path) -> None:
    ecg_mv, fs_hz = toy_mv(60)
    base = write_record(tmp_path, "toy", ecg_mv, fs_hz, ["MLII"])
    data = base.with_suffix(".dat").read_bytes()
    base.with_suffix(".dat").write_bytes(data[: len(data) // 2])
    code, said = run(base, tmp_path / "out")
    assert code == 2
    assert "30.0 s of the 60.0 s" in said
    document = json.loads((tmp_path / "out/toy.json").read_text())
    assert document["complete"] is False
    assert document["duration_s"] == pytest.approx(30.0, abs=0.01)
    assert len(document["numerics"]) > 20


@pytest.mark.parametrize("block_s", ["-1", "nan"])
def test_a_block_length_that_is_none_is_refused(tmp_path: Path, block_s: str) -> None:
    record = simulated(tmp_path, 10)
    assert run(record, tmp_path / "out", "--block-s", block_s)[0] == 2


def test_a_rate_that_cannot_be_analysed_is_refused_with_what_to_do(tmp_path: Path) -> None:
    record = write_record(tmp_path, "slow", np.zeros(500), 50.0, ["II"])
    with pytest.raises(SetupError, match="50 samples a second") as refused:
        analysis.analyze(record)
    assert "resample" in refused.value.hint


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    record = simulated(tmp_path, 10)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SetupError, match="file"):
        analysis.write(analysis.analyze(record), tmp_path / "file" / "out")


def test_overlapping_episodes_become_one_sequence_of_the_gravest() -> None:
    episodes = [(0, 100, "N"), (20, 40, "VT"), (30, 50, "VFL"), (60, 70, "NOISE"), (90, 200, "AFIB")]
    assert flatten(episodes, 150) == [
        ("N", 0, 20),
        ("VT", 20, 30),
        ("VFL", 30, 50),
        ("N", 50, 60),
        ("NOISE", 60, 70),
        ("N", 70, 90),
        ("AFIB", 90, 150),
    ]
    assert flatten([], 10) == []


def test_analysing_twice_is_the_same_to_the_byte(tmp_path: Path) -> None:
    record = simulated(tmp_path, 40, Happening(20, 8, What.VT, rate_bpm=160))
    first, second = (analysis.report(analysis.analyze(record, block_s=math.inf)) for _ in range(2))
    first.pop("cpu_s"), second.pop("cpu_s")
    assert json.dumps(first) == json.dumps(second)


def test_an_edf_file_gives_the_beats_of_the_wfdb_record_it_was_made_from(tmp_path: Path) -> None:
    body = SimulatedBody("simulated", 5)
    ecg_mv = body.ecg_uv(0, 130 * 40) / 1000
    wfdb_record = write_record(tmp_path, "body", ecg_mv, 130.0, ["II"])
    signal = edfio.EdfSignal(ecg_mv, 130, label="ECG II", physical_dimension="mV", physical_range=(-8.192, 8.191))
    edfio.Edf([signal]).write(tmp_path / "same.edf")
    expected = [beat.index for beat in analysis.analyze(wfdb_record).beats()]
    found = [beat.index for beat in analysis.analyze(tmp_path / "same.edf").beats()]
    assert len(found) > 40
    assert np.abs(np.array(found) - np.array(expected)).max() <= 1
