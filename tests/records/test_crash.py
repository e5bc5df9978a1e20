"""`kill -9` at random moments: whatever a write called stored is there, and nothing else is half there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.records import records_writer
from tests.records.records_world import T0_US, opened, same_blocks

from bedside.core.events import Numeric
from bedside.records.store import RecordStore, open_reader
from bedside.records.verify import verify
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-002")

WRITER = Path(records_writer.__file__)


def run_and_kill(folder: Path, seed: int, *words: str) -> list[tuple[int, int]]:
    """What the killed writer had said: (patient, second), in order."""
    dice = random.Random(seed)
    writer = subprocess.Popen([sys.executable, str(WRITER), str(folder), *words], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    said: list[tuple[int, int]] = []
    lines = 0 if seed % 5 == 0 else dice.randint(1, 120)  # each fifth is killed while it starts
    if lines == 0:
        deadline = time.monotonic() + 20
        while not (folder / "run" / "store.lock").exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 0.05))
    while len(said) < lines:
        said.append(parsed(writer.stdout.readline()))
    time.sleep(dice.uniform(0, 0.004))
    writer.kill()
    rest = writer.stdout.read()
    writer.wait()
    writer.stdout.close()
    said += [parsed(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    return said


def parsed(line: str) -> tuple[int, int]:
    who, second = line.split()
    return int(who), int(second)


def test_the_check_finds_a_writer_that_calls_stored_what_is_not(tmp_path: Path) -> None:
    of = records_writer.patients(1)[0]
    for seed in (1, 2, 3, 4, 6, 7, 8, 9):
        folder = tmp_path / str(seed)
        seconds = [number for who, number in run_and_kill(folder, seed, "early") if who == 0]
        store = opened(folder)
        try:
            check(store, of.id, records_writer.lead(of).id, seconds)
        except AssertionError:
            return
        finally:
            store.close()
    pytest.fail("eight kills, and nothing was missed")


@pytest.mark.parametrize("seed", range(15))
def test_a_killed_writer_loses_nothing_it_called_stored(seed: int, tmp_path: Path) -> None:
    kill_and_check(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(15, 200))
def test_two_hundred_kills_lose_nothing(seed: int, tmp_path: Path) -> None:
    kill_and_check(seed, tmp_path)


def kill_and_check(seed: int, tmp_path: Path) -> None:
    said = run_and_kill(tmp_path, seed)
    store = opened(tmp_path)
    try:
        report = store.opening_report
        assert report.damage == ()
        assert report.checked
        if said:
            assert not report.previous_shutdown_clean
        known = {one.id: one for one in store.patients()}
        for who in {who for who, _ in said}:
            of = records_writer.patients(who + 1)[who]
            assert known[of.id] == of
            seconds = [number for one, number in said if one == who]
            check(store, of.id, records_writer.lead(of).id, seconds)
    finally:
        store.close()
    reader = open_reader(Home(tmp_path))
    found = verify(reader)
    reader.close()
    assert found.ok, found.findings


def check(store: RecordStore, patient: str, stream: str, seconds: list[int]) -> None:
    """All that was said, at most one second more (stored, but killed before it could say so), and each whole."""
    of = next(one for one in records_writer.patients(50) if one.id == patient)
    blocks = store.blocks(stream, T0_US, T0_US + 10**12)
    events = store.events(patient, T0_US, T0_US + 10**12)
    kept = [int(event.value or 0) for event in events if isinstance(event, Numeric)]
    first = seconds[0]
    assert kept == list(range(first, first + len(kept)))
    assert len(seconds) <= len(kept) <= len(seconds) + 1
    assert same_blocks(blocks, [block for number in kept for block in records_writer.batch(number, of).blocks])
    assert len(events) == 2 * len(kept)
    still = [one.alarm for one in store.open_alarms(patient)]
    assert still == [f"alarm {number // 2}" for number in kept if number % 2]
