"""A power cut tears files at any byte: what was called stored is there, and nothing is half there.

A store is written and the sizes of its files are noted after each write that returned: up to there the disk has
confirmed. Behind that, a power cut leaves anything: nothing, a part, zeros, older or random sectors. Each case makes
such a state of the real files and opens it.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.records import records_mounted
from tests.records.records_world import T0_US, numeric, opened, patient, same_blocks, second, stream

from bedside.core.codes import Code
from bedside.core.errors import BedsideError, StoreError
from bedside.core.ports import Batch
from bedside.records.budget import FILLING, NEARLY_FULL, ROOM_BYTES, Budget, Level
from bedside.records.retention import DAY_US, Policy
from bedside.records.store import RecordStore, open_reader
from bedside.records.verify import verify
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-002")

ADA = patient("Ada")
LEAD = stream(ADA)
END = T0_US + 10**12
SECTOR = 512


@dataclass(frozen=True)
class Taken:
    """Files as they were while the store was open, and what the disk had confirmed of the write-ahead log."""

    folder: Path
    confirmed: list[int]  # bytes of the log after each second was stored; the first: before any


def write(store: RecordStore, at_s: int) -> None:
    store.write(Batch([second(LEAD, at_s)], [numeric(ADA, T0_US + at_s * 1_000_000, float(at_s))]))


@pytest.fixture(scope="module")
def taken(folder_of_module: Path) -> Taken:
    folder = folder_of_module / "open"
    store = opened(folder)
    store.put_patient(ADA)
    store.close()
    store = opened(folder)  # the log begins anew
    wal = folder / "store.db-wal"
    confirmed = [wal.stat().st_size]
    for at_s in range(12):
        write(store, at_s)
        confirmed.append(wal.stat().st_size)
    shutil.copytree(folder, folder_of_module / "taken")
    store.close()
    return Taken(folder_of_module / "taken", confirmed)


def found(folder: Path) -> int:
    """How many whole seconds there are; everything is as it was written and verifies."""
    store = opened(folder)
    try:
        assert store.opening_report.damage == ()
        assert not store.previous_shutdown_clean
        numbers = [getattr(one, "value", None) for one in store.events(ADA.id, T0_US, END)]
        seconds = len(numbers)
        assert numbers == list(range(seconds))
        assert same_blocks(store.blocks(LEAD.id, T0_US, END), [second(LEAD, at_s) for at_s in range(seconds)])
    finally:
        store.close()
    reader = open_reader(Home(folder))
    try:
        assert verify(reader).ok
    finally:
        reader.close()
    return seconds


def torn(wal: bytes, at: int, how: str, dice: random.Random) -> bytes:
    """The log as a power cut may leave it, when `at` bytes had reached the disk."""
    if how == "cut":
        return wal[:at]
    if how == "zeros":
        return wal[:at] + bytes(len(wal) - at)
    if how == "noise":
        return wal[:at] + dice.randbytes(len(wal) - at)
    rest = bytearray(wal[at:])
    for sector in range(0, len(rest), SECTOR):  # some sectors arrived, out of order
        if dice.random() < 0.5:
            rest[sector : sector + SECTOR] = bytes(len(rest[sector : sector + SECTOR]))
    return wal[:at] + bytes(rest)


def cases(count: int) -> list[tuple[int, str]]:
    return [(seed, how) for seed in range(count) for how in ("cut", "zeros", "noise", "sectors")]


def check_torn(seed: int, how: str, taken: Taken, tmp_path: Path) -> None:
    dice = random.Random(f"{seed} {how}")
    wal = (taken.folder / "store.db-wal").read_bytes()
    at = dice.choice([dice.randrange(taken.confirmed[0], len(wal)), dice.choice(taken.confirmed) + dice.randint(-1, 1)])
    at = min(max(at, taken.confirmed[0]), len(wal))
    stored = sum(size <= at for size in taken.confirmed) - 1
    folder = tmp_path / "home"
    shutil.copytree(taken.folder, folder)
    (folder / "store.db-shm").unlink()  # memory shared by processes: gone with the power
    (folder / "store.db-wal").write_bytes(torn(wal, at, how, dice))
    seconds = found(folder)
    assert stored <= seconds <= 12, f"seed {seed} {how}: {stored} were stored at byte {at}, {seconds} are there"
    if how in ("cut", "zeros", "noise"):
        assert seconds == stored


@pytest.mark.parametrize(("seed", "how"), cases(8))
def test_a_log_torn_at_any_byte_loses_nothing_that_was_stored(
    seed: int, how: str, taken: Taken, tmp_path: Path
) -> None:
    check_torn(seed, how, taken, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(("seed", "how"), cases(250)[32:])
def test_a_log_torn_at_a_thousand_bytes_loses_nothing(seed: int, how: str, taken: Taken, tmp_path: Path) -> None:
    check_torn(seed, how, taken, tmp_path)


def test_the_check_finds_what_is_lost_when_confirmed_bytes_are(taken: Taken, tmp_path: Path) -> None:
    """A disk that lies about what it has written: then the last second is missing, and the check says so."""
    folder = tmp_path / "home"
    shutil.copytree(taken.folder, folder)
    (folder / "store.db-shm").unlink()
    wal = (taken.folder / "store.db-wal").read_bytes()
    (folder / "store.db-wal").write_bytes(wal[: taken.confirmed[-1] - 1])
    assert found(folder) == 11


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_while_the_log_goes_into_the_database_loses_nothing(seed: int, taken: Taken, tmp_path: Path) -> None:
    """Any part of any page of the database may be the new one or torn: the log is still there and mends it."""
    dice = random.Random(seed)
    done = tmp_path / "done"
    shutil.copytree(taken.folder, done)
    db = sqlite3.connect(done / "store.db")
    db.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
    after = (done / "store.db").read_bytes()
    db.close()
    folder = tmp_path / "home"
    shutil.copytree(taken.folder, folder)
    (folder / "store.db-shm").unlink()
    before = (folder / "store.db").read_bytes()
    mixed = bytearray(before + bytes(max(0, len(after) - len(before)) if dice.random() < 0.5 else 0))
    for sector in range(0, min(len(mixed), len(after)), SECTOR):
        if after[sector : sector + SECTOR] != bytes(mixed[sector : sector + SECTOR]) and dice.random() < 0.5:
            mixed[sector : sector + SECTOR] = after[sector : sector + SECTOR]
    (folder / "store.db").write_bytes(mixed)
    assert found(folder) == 12


@pytest.mark.parametrize("seed", range(24))
def test_a_flipped_bit_in_any_file_gives_the_true_values_or_an_error(seed: int, taken: Taken, tmp_path: Path) -> None:
    dice = random.Random(seed)
    folder = tmp_path / "home"
    shutil.copytree(taken.folder, folder)
    (folder / "store.db-shm").unlink()
    found_files = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    files = sorted(path for path in found_files if path.parent.name != "run" and path.name != "reserve")
    path = files[seed % len(files)]
    damaged = bytearray(path.read_bytes())
    damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    path.write_bytes(damaged)
    where = f"seed {seed}: {path.relative_to(folder)}"
    try:
        store = opened(folder)
    except BedsideError as error:
        assert str(error), where
        return
    try:
        if store.opening_report.damage:
            return  # said
        numbers = [getattr(one, "value", None) for one in store.events(ADA.id, T0_US, END)]
        blocks = store.blocks(LEAD.id, T0_US, END)
    except StoreError as error:
        assert str(error), where
        return
    finally:
        store.close()
    # a bit of the log's last frames may be what a power cut leaves: then the end is missing, as after one
    assert numbers == list(range(len(numbers))), where
    assert same_blocks(blocks, [second(LEAD, at_s) for at_s in range(len(numbers))]), where
    assert len(numbers) == 12 or path.name == "store.db-wal", where


def test_a_clock_set_back_an_hour_and_forward_a_day_mixes_nothing(tmp_path: Path) -> None:
    hour_us = 3_600_000_000
    now_us = T0_US
    store = opened(tmp_path)
    store.put_patient(ADA)
    store._now_us = lambda: now_us
    written = []
    for at_s in range(60):
        shift = 0 if at_s < 20 else -hour_us if at_s < 40 else DAY_US
        now_us = T0_US + at_s * 1_000_000 + shift
        whole = second(LEAD, at_s)
        moved = type(whole)(
            stream=LEAD, first_index=whole.first_index, start_us=now_us, rate_hz=whole.rate_hz, counts=whole.counts
        )
        store.write(Batch([moved], [numeric(ADA, now_us, float(at_s))]))
        written.append(moved)
        while store.compact_step():
            pass
    for _ in range(2):
        found_blocks = store.blocks(LEAD.id, T0_US - DAY_US, END)
        assert same_blocks(found_blocks, sorted(written, key=lambda one: one.start_us))
        assert store.next_index(LEAD.id) == 60 * 130
        trend = store.trend(ADA.id, Code.HEART_RATE, T0_US - DAY_US, T0_US + 2 * DAY_US, 72)
        assert sum(one.count for one in trend) == 60
        store.close()
        store = opened(tmp_path)
    store.close()
    reader = open_reader(Home(tmp_path))
    assert verify(reader).ok
    reader.close()


def _may_mount() -> bool:
    with tempfile.TemporaryDirectory() as place:
        mount = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", place]
        try:
            return subprocess.run(mount, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


# Where the kernel lets nobody mount, these two run only by hand: `make test-long`, as root.
mounted = pytest.mark.filterwarnings("default") if _may_mount() else pytest.mark.long


def on_a_small_disk(scenario: str, tmp_path: Path) -> dict[str, object]:
    import json

    script = Path(records_mounted.__file__)
    command = ["unshare", "--map-root-user", "--mount", sys.executable, str(script), scenario, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


@mounted
def test_a_disk_that_is_really_full_and_full_again_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    happened = on_a_small_disk("full", tmp_path)
    told = happened["told"]
    assert isinstance(told, list)
    seconds = [one["seconds"] for one in told[::2]]
    assert 0 < seconds[0] < seconds[1] < seconds[2]  # after each clean-up writing went on
    for one in told[::2]:
        assert "disk" in one["said"]
        assert all(one["again"])
        assert one["level"] >= Level.NEARLY_FULL
    assert told[1::2] == [True, True, True]  # readable while it is full
    assert happened["reserve"] == [True, False]  # what let the box start without a byte left
    assert happened["whole"] is True
    assert happened["verified"] is True


@mounted
def test_a_start_on_a_read_only_disk_is_refused_in_words_and_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    happened = on_a_small_disk("read-only", tmp_path)
    assert "Read-only file system" in str(happened["said"])
    assert happened["hint"]
    assert happened["after"] == ""
    assert happened["seconds"] == 25
    assert happened["whole"] is True
    assert happened["verified"] is True


def test_the_levels_of_the_disk_are_what_the_readme_says() -> None:
    def level(used: float, total: int = 10**10) -> Level:
        return Budget(total, round(total * (1 - used))).level

    assert [level(used) for used in (0.5, FILLING - 0.001, FILLING + 0.001, NEARLY_FULL + 0.001, 0.9999)] == [
        Level.ROOM, Level.ROOM, Level.FILLING, Level.NEARLY_FULL, Level.FULL,
    ]  # fmt: skip
    assert level(0.9, total=100 * ROOM_BYTES) == Level.ROOM  # a tenth of a big disk is years
    assert Budget(0, 0).level == Level.FULL
    assert "nothing more is stored" in Budget(10**9, 10**6).sentence()


def test_on_a_nearly_full_disk_the_oldest_samples_go_where_the_rule_allows_and_events_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [False]

    def budget(self: RecordStore) -> Budget:
        return Budget(10**10, 3 * 10**8 if full[0] else 5 * 10**9)

    monkeypatch.setattr(RecordStore, "budget", budget)
    store = opened(tmp_path)
    store.put_patient(ADA)
    now_us = T0_US
    store._now_us = lambda: now_us

    def days() -> set[int]:
        return {(one.start_us - T0_US) // DAY_US for one in store.blocks(LEAD.id, T0_US, END)}

    for at_s in range(60):
        now_us = T0_US + at_s // 10 * DAY_US + at_s % 10 * 1_000_000
        whole = second(LEAD, at_s)
        moved = type(whole)(
            stream=LEAD, first_index=whole.first_index, start_us=now_us, rate_hz=whole.rate_hz, counts=whole.counts
        )
        store.write(Batch([moved], [numeric(ADA, now_us)]))
    for policy, is_full, kept in (
        (Policy(), True, {0, 1, 2, 3, 4, 5}),  # no rule: nothing goes
        (Policy().changed("", "make-room", 2), False, {0, 1, 2, 3, 4, 5}),  # room enough
        (Policy().changed("", "make-room", 2), True, {4, 5}),  # three hours into the sixth day
    ):
        store.policy, full[0] = policy, is_full
        now_us += 3_600_000_000
        while store.compact_step():
            pass
        assert days() == kept
    assert len(store.events(ADA.id, T0_US, END, ("numeric",))) == 60
    store.close()
    reader = open_reader(Home(tmp_path))
    assert verify(reader).ok
    reader.close()
