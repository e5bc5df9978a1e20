"""A full disk, a read-only folder, a second process, a damaged file: a clear error, nothing half-written."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.records import records_writer
from tests.records.records_world import T0_US, numeric, opened, patient, same_blocks, second, stream

from bedside.core.errors import BedsideError, SetupError, StoreError
from bedside.core.events import Event
from bedside.core.ports import Batch
from bedside.core.samples import Block
from bedside.records.database import DamagedError
from bedside.records.store import RecordStore

pytestmark = pytest.mark.requirement("REC-002", "REC-003")

ADA = patient("Ada")
LEAD = stream(ADA)
END = T0_US + 10**12


def fill(store: RecordStore, first_s: int, seconds: int) -> None:
    for at_s in range(first_s, first_s + seconds):
        store.write(Batch([second(LEAD, at_s)], [numeric(ADA, T0_US + at_s * 1_000_000, float(at_s))]))


def whole(store: RecordStore, seconds: int) -> None:
    """Exactly the first `seconds` seconds are there."""
    assert same_blocks(store.blocks(LEAD.id, T0_US, END), [second(LEAD, at_s) for at_s in range(seconds)])
    assert [event.value for event in store.events(ADA.id, T0_US, END)] == list(range(seconds))  # type: ignore[attr-defined]


@contextmanager
def no_file_may_grow_past(size: int) -> Iterator[None]:
    """The kernel refuses to grow files, as it does on a full disk (but with EFBIG: SQLite calls that an IO error)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    made = opened(tmp_path)
    made.put_patient(ADA)
    yield made
    made.close()


def test_a_full_disk_refuses_whole_batches_and_writing_goes_on_when_there_is_room(store: RecordStore) -> None:
    fill(store, 0, 10)
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")  # SQLite's own SQLITE_FULL
    stored = 10
    with pytest.raises(StoreError, match="disk is full"):
        for at_s in range(10, 500):
            fill(store, at_s, 1)
            stored += 1
    for _ in range(3):  # refused again and again, and nothing of it stays
        with pytest.raises(StoreError, match="free some space"):
            store.write(Batch([second(LEAD, at_s) for at_s in range(stored, stored + 200)], []))
    whole(store, stored)
    store._connection.execute("PRAGMA max_page_count = 1000000")
    fill(store, stored, 5)
    whole(store, stored + 5)


def test_a_kernel_that_refuses_to_grow_files_costs_only_the_refused_batches(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put_patient(ADA)
    fill(store, 0, 5)
    stored = 5
    limit = max(path.stat().st_size for path in tmp_path.glob("store.db*")) + 30_000
    with no_file_may_grow_past(limit):
        with pytest.raises(StoreError, match="disk"):
            for at_s in range(5, 5000):
                fill(store, at_s, 1)
                stored += 1
        with pytest.raises(StoreError):
            store.put_patient(patient("Bo"))
        whole(store, stored)
    fill(store, stored, 3)
    whole(store, stored + 3)
    store.close()
    again = opened(tmp_path)
    assert again.previous_shutdown_clean
    assert again.opening_report.damage == ()
    whole(again, stored + 3)
    again.close()


def test_a_store_that_turns_read_only_says_so_and_goes_on_afterwards(store: RecordStore) -> None:
    fill(store, 0, 3)
    store._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="may not be written"):
        fill(store, 3, 1)
    whole(store, 3)
    store._connection.execute("PRAGMA query_only = OFF")
    fill(store, 3, 1)
    whole(store, 4)


def _open_as_nobody(folder: str, answers: multiprocessing.Queue[str]) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        opened(Path(folder)).close()
    except BedsideError as error:
        answers.put(f"{type(error).__name__}: {error}")
    else:
        answers.put("opened")


def test_a_read_only_folder_is_refused_with_its_name() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        opened(home).close()
        if os.geteuid() == 0:
            for path in (Path(folder), *Path(folder).rglob("*")):
                os.chown(path, 65534, 65534)
        said = []
        for mode in (0o700, 0o500):
            for path in (home, home / "run"):
                path.chmod(mode)
            context = multiprocessing.get_context("fork")
            answers: multiprocessing.Queue[str] = context.Queue()
            child = context.Process(target=_open_as_nobody, args=(str(home), answers))
            child.start()
            said.append(answers.get(timeout=60))
            child.join()
            answers.close()
        for path in (home, home / "run"):
            path.chmod(0o700)
    assert said[0] == "opened"
    assert said[1].startswith("SetupError")
    assert str(home) in said[1]


def test_a_second_process_on_the_same_folder_is_refused_and_told_who_has_it(store: RecordStore, tmp_path: Path) -> None:
    second_one = subprocess.run(
        [sys.executable, records_writer.__file__, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert second_one.returncode != 0
    assert f"data folder {tmp_path} is in use by another Bedside (process {os.getpid()})" in second_one.stderr
    with pytest.raises(SetupError, match=str(os.getpid())) as caught:
        opened(tmp_path)
    assert "--home" in caught.value.hint
    fill(store, 0, 1)
    whole(store, 1)


def test_a_wrong_passphrase_leaves_the_records_as_they_are(tmp_path: Path) -> None:
    store = opened(tmp_path, passphrase="right")
    store.put_patient(ADA)
    fill(store, 0, 2)
    assert "passphrase" in store.opening_report.protection
    store.close()
    for wrong in ("wrong", None):
        with pytest.raises(SetupError):
            opened(tmp_path, passphrase=wrong)
    again = opened(tmp_path, passphrase="right")
    whole(again, 2)
    again.close()


def test_an_existing_database_without_its_key_is_refused_not_begun_anew(tmp_path: Path) -> None:
    opened(tmp_path).close()
    shutil.rmtree(tmp_path / "keys")
    with pytest.raises(SetupError, match="missing"):
        opened(tmp_path)


def readable(folder: Path) -> tuple[list[Block], list[Event]]:
    store = opened(folder)
    try:
        if store.opening_report.damage:  # what the gateway shows, and its reads fail later
            raise StoreError(store.opening_report.damage[0])
        assert list(store.patients()) == [ADA]
        assert list(store.streams(ADA.id)) == [LEAD]
        return store.blocks(LEAD.id, T0_US, END), store.events(ADA.id, T0_US, END)
    finally:
        store.close()


@pytest.fixture(scope="module")
def minute(folder_of_module: Path) -> tuple[Path, list[Block], list[Event]]:
    """A cleanly closed store of one minute, and what is in it."""
    folder = folder_of_module / "minute"
    store = opened(folder)
    store.put_patient(ADA)
    fill(store, 0, 60)
    store.close()
    return folder, *readable(folder)


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_gives_the_true_values_or_an_error(
    seed: int, minute: tuple[Path, list[Block], list[Event]], tmp_path: Path
) -> None:
    source, blocks, events = minute
    folder = tmp_path / "home"
    shutil.copytree(source, folder)
    path = folder / "store.db"
    damaged = bytearray(path.read_bytes())
    dice = random.Random(seed)
    for _ in range(1 if seed % 2 else 8):
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    path.write_bytes(damaged)
    try:
        found_blocks, found_events = readable(folder)
    except StoreError as error:
        assert str(error), f"seed {seed}"
        return
    except AssertionError:
        pytest.fail(f"a patient or stream was not what was written, and no error said so: seed {seed}")
    assert same_blocks(found_blocks, blocks), f"seed {seed}"
    assert found_events == events, f"seed {seed}"


@pytest.mark.parametrize("part", [0.1, 0.4, 0.7, 0.99])
def test_a_cut_database_is_an_error_that_names_the_file(
    part: float, minute: tuple[Path, list[Block], list[Event]], tmp_path: Path
) -> None:
    folder = tmp_path / "home"
    shutil.copytree(minute[0], folder)
    path = folder / "store.db"
    os.truncate(path, int(path.stat().st_size * part))
    with pytest.raises(DamagedError, match=str(path)):
        readable(folder)


def test_a_damaged_database_can_be_set_aside_whole_and_monitoring_gets_a_new_one(
    minute: tuple[Path, list[Block], list[Event]], tmp_path: Path
) -> None:
    folder = tmp_path / "home"
    shutil.copytree(minute[0], folder)
    damaged = (folder / "store.db").read_bytes()[:20_000]
    (folder / "store.db").write_bytes(damaged)
    store = opened(folder, set_aside_damaged=True)
    aside = store.opening_report.set_aside
    assert aside is not None
    assert (aside / "store.db").read_bytes() == damaged
    store.put_patient(ADA)
    fill(store, 0, 2)
    whole(store, 2)
    store.close()
    again = opened(folder, set_aside_damaged=True)
    assert again.opening_report.set_aside is None
    whole(again, 2)
    again.close()
