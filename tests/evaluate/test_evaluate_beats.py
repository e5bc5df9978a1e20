"""`bedside evaluate beats`: the table of a folder, through the live path and for another program's annotations."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from click.testing import CliRunner
from tests.evaluate.evaluate_helpers import write_record

from bedside.core.errors import SetupError
from bedside.evaluate import beat_table, bench, cli, signal_bench
from bedside.simulation.bodies import SimulatedBody

pytestmark = pytest.mark.requirement("EVL-002")

RATE_HZ = 130.0


def folder_of_bodies(folder: Path, seconds: float = 60.0) -> list[np.ndarray[Any, Any]]:
    """Two generated bodies with their true beats as annotations."""
    truths = []
    for seed in (1, 2):
        body = SimulatedBody("simulated", seed)
        write_record(folder, f"body{seed}", body.ecg_uv(0, round(seconds * RATE_HZ)) / 1000, RATE_HZ, ["II"])
        truth = np.rint(np.array(body.beats_s(0.0, seconds - 0.1)) * RATE_HZ).astype(np.int64)
        wfdb.wrann(f"body{seed}", "atr", truth, symbol=["N"] * truth.size, fs=RATE_HZ, write_dir=str(folder))
        truths.append(truth)
    return truths


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(cli.evaluate, ["beats", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_the_live_path_finds_the_beats_of_generated_bodies_and_the_matchers_agree(tmp_path: Path) -> None:
    truths = folder_of_bodies(tmp_path)
    document = json.loads(run(str(tmp_path), "--processes", "1", "--json"))
    qrs = document["gross"]["from_start"]["qrs"]
    assert qrs["tp"] + qrs["fn"] == sum(truth.size for truth in truths)
    assert qrs["f1"] > 98.0  # a beat on the very first sample cannot be found
    assert document["independent"]["tp"] == qrs["tp"]
    assert document["jitter_ms"]["median_absolute"] < 10
    assert [row["record"] for row in document["records"]] == ["body1", "body2"]
    assert document["cpu_s_per_hour"] > 0


def test_two_processes_give_what_one_gives_and_leave_what_was_analysed(tmp_path: Path) -> None:
    folder_of_bodies(tmp_path / "data", 20.0)
    two = json.loads(run(str(tmp_path / "data"), "--processes", "2", "--json", "--out", str(tmp_path / "out")))
    one = json.loads(run(str(tmp_path / "data"), "--processes", "1", "--json"))
    for document in (one, two):
        document.pop("cpu_s_per_hour")
        for row in document["records"]:
            row.pop("cpu_s_per_hour")
    assert one == two
    assert (tmp_path / "out/body1.bedside").is_file()


def test_annotations_of_another_program_are_scored_the_same_way(tmp_path: Path) -> None:
    truths = folder_of_bodies(tmp_path)
    for seed, truth in enumerate(truths, 1):
        wfdb.wrann(
            f"body{seed}", "qrs", truth[::2], symbol=["N"] * truth[::2].size, fs=RATE_HZ, write_dir=str(tmp_path)
        )
    document = json.loads(run(str(tmp_path), "--ann", "qrs", "--processes", "1", "--json"))
    assert document["gross"]["from_start"]["qrs"]["se"] == pytest.approx(50, abs=1)
    assert document["gross"]["from_start"]["qrs"]["ppv"] == 100
    assert document["cpu_s_per_hour"] is None


def test_figures_are_kept_as_json_and_markdown_with_the_command_that_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of_bodies(tmp_path / "data", 20.0)
    monkeypatch.chdir(tmp_path)
    table = run(str(tmp_path / "data"), "--processes", "1", "--write")
    assert "| gross |" in table
    kept = (tmp_path / "compliance/figures/beats.md").read_text()
    assert "bedside evaluate beats DIR" in kept
    assert str(tmp_path) not in kept
    assert json.loads((tmp_path / "compliance/figures/beats.json").read_text())["records"]


def test_a_folder_without_annotated_records_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no such folder"):
        beat_table.records_in(tmp_path / "nowhere")
    with pytest.raises(SetupError, match="0 records"):
        beat_table.records_in(tmp_path)


def test_the_bench_names_every_stage_and_its_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_bench, "find_spec", lambda name: None if name == "neurokit2" else find_spec(name))
    document: Any = bench.measure(0.02)
    assert {"signal", "models", "rhythm", "alarms"} <= set(document["cpu_s_per_hour"])
    peers = document["peers_cpu_s_per_hour"]
    assert {"wfdb xqrs", "sleepecg", "NeuroKit2", "Pan-Tompkins (NeuroKit2's)", "Hamilton (NeuroKit2's)"} == set(peers)
    assert peers["NeuroKit2"] is None  # as on a machine without it
    assert "not installed" in bench.as_text(document)
    room = document["signal_room"]
    assert set(room["one_stream_cpu_s_per_hour"]) == {"conditioning and quality", "beats", "rate and rhythm"}
    assert all(seconds > 0 for seconds in room["one_stream_cpu_s_per_hour"].values())
    assert room["ward_cpu_s_per_stream_hour"] > 0
    sizes = room["state_bytes_by_part"]
    assert max(sizes) - min(sizes) < 20_000
    assert document["beats"] > 60
    for runtime in document["models"]["runtimes"]:
        assert set(runtime["models"]) == {"beats", "rhythm"}
        assert all(costs["single_us"] > 0 for costs in runtime["models"].values())
        assert 0 < runtime["memory_mib"] < document["models"]["memory_goal_mib"]
    assert "CPU s per hour" in bench.as_text(document)
