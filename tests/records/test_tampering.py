"""What somebody with the files but without the key can do to them, and what names it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.records.records_world import T0_US, alarm, numeric, opened, patient, second, stream

from bedside.core.errors import StoreError
from bedside.core.events import AlarmState
from bedside.core.merkle import root
from bedside.core.ports import Batch
from bedside.records.cli import records
from bedside.records.log import Frontier
from bedside.records.store import open_reader
from bedside.records.verify import VerifyReport, verify
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-004")

ADA, BO = patient("Ada"), patient("Bo")
ADA_I, ADA_II, BO_I = stream(ADA, "I"), stream(ADA, "II"), stream(BO, "I")
END = T0_US + 10**12

# Which waves belong to whom: positions are found by the clear columns, as a thief would.
WAVES = "SELECT position FROM entry JOIN series ON series = number WHERE entry.form = 3 AND id = ? ORDER BY seq"


def positions(db: sqlite3.Connection, of: str) -> list[int]:
    return [row[0] for row in db.execute(WAVES, (of,))]


def swap(db: sqlite3.Connection, one: int, other: int) -> None:
    (a,), (b,) = (db.execute("SELECT sealed FROM entry WHERE position = ?", (at,)).fetchone() for at in (one, other))
    db.execute("UPDATE entry SET sealed = ? WHERE position = ?", (b, one))
    db.execute("UPDATE entry SET sealed = ? WHERE position = ?", (a, other))


def swap_positions(db: sqlite3.Connection) -> None:
    swap(db, positions(db, ADA_I.id)[3], positions(db, ADA_I.id)[7])


def swap_streams(db: sqlite3.Connection) -> None:
    swap(db, positions(db, ADA_I.id)[3], positions(db, ADA_II.id)[3])


def swap_patients(db: sqlite3.Connection) -> None:
    swap(db, positions(db, ADA_I.id)[3], positions(db, BO_I.id)[3])


def swap_patients_with_their_keys(db: sqlite3.Connection) -> None:
    swap_patients(db)
    a, b = positions(db, ADA_I.id)[3], positions(db, BO_I.id)[3]
    select = "SELECT data_key FROM entry WHERE position = ?"
    (key_a,), (key_b,) = (db.execute(select, (at,)).fetchone() for at in (a, b))
    db.execute("UPDATE entry SET data_key = ? WHERE position = ?", (key_b, a))
    db.execute("UPDATE entry SET data_key = ? WHERE position = ?", (key_a, b))


def exchange_patients(db: sqlite3.Connection) -> None:
    db.execute("UPDATE series SET id = 'x' WHERE id = ?", (ADA.id,))
    db.execute("UPDATE series SET id = ? WHERE id = ?", (ADA.id, BO.id))
    db.execute("UPDATE series SET id = ? WHERE id = 'x'", (BO.id,))


def give_stream_to_other_patient(db: sqlite3.Connection) -> None:
    db.execute("UPDATE series SET owner = (SELECT number FROM series WHERE id = ?) WHERE id = ?", (BO.id, ADA_I.id))


def shift_time(db: sqlite3.Connection) -> None:
    db.execute("UPDATE entry SET start_us = start_us + 500000 WHERE position = ?", (positions(db, ADA_I.id)[4],))


def shift_index(db: sqlite3.Connection) -> None:
    db.execute("UPDATE entry SET first_index = first_index + 1 WHERE position = ?", (positions(db, ADA_I.id)[4],))


def take_out(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM entry WHERE position = ?", (positions(db, ADA_I.id)[4],))


def repeat_at_the_end(db: sqlite3.Connection) -> None:
    db.execute(
        "INSERT INTO entry SELECT (SELECT max(position) + 1 FROM entry), form, series, seq + 16, first_index, n,"
        " start_us + 16000000, span_us, schema, data_key, sealed FROM entry WHERE position = ?",
        (positions(db, ADA_I.id)[4],),
    )


def alter_one_byte(db: sqlite3.Connection) -> None:
    at = positions(db, ADA_I.id)[4]
    (sealed,) = db.execute("SELECT sealed FROM entry WHERE position = ?", (at,)).fetchone()
    db.execute(
        "UPDATE entry SET sealed = ? WHERE position = ?", (sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:], at)
    )


def cut_the_end(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM entry WHERE position > (SELECT max(position) - 3 FROM entry)")


def exchange_heads(db: sqlite3.Connection) -> None:
    rows = db.execute("SELECT size, root, seal FROM head ORDER BY size").fetchall()
    (size_a, root_a, seal_a), (size_b, root_b, seal_b) = rows[0], rows[-1]
    db.execute("UPDATE head SET root = ?, seal = ? WHERE size = ?", (root_b, seal_b, size_a))
    db.execute("UPDATE head SET root = ?, seal = ? WHERE size = ?", (root_a, seal_a, size_b))


READ_FAILS = [
    swap_positions,
    swap_streams,
    swap_patients,
    swap_patients_with_their_keys,
    give_stream_to_other_patient,
    shift_time,
    shift_index,
    take_out,
    repeat_at_the_end,
    alter_one_byte,
]
ONLY_VERIFY_TELLS = [exchange_heads]
OPENING_FAILS = [cut_the_end, exchange_patients]


@pytest.fixture(scope="module")
def truth(folder_of_module: Path) -> Path:
    folder = folder_of_module / "truth"
    for opening in range(2):  # two heads
        store = opened(folder)
        for one in (ADA, BO):
            store.put_patient(one)
        for at_s in range(8 * opening, 8 * opening + 8):
            at_us = T0_US + at_s * 1_000_000
            events = [numeric(ADA, at_us), numeric(BO, at_us), alarm(None, at_us, AlarmState.ACTIVE, "box")]
            store.write(Batch([second(info, at_s) for info in (ADA_I, ADA_II, BO_I)], events))
        store.close()
    return folder


def tampered(truth: Path, folder: Path, act: Callable[[sqlite3.Connection], None]) -> None:
    shutil.copytree(truth, folder)
    db = sqlite3.connect(folder / "store.db")
    with db:
        act(db)
    db.close()


def verified(folder: Path) -> VerifyReport | None:
    """None: the store would not even open."""
    try:
        reader = open_reader(Home(folder))
    except StoreError:
        return None
    try:
        return verify(reader)
    finally:
        reader.close()


def read_all(folder: Path) -> None:
    store = opened(folder)
    try:
        for info in (ADA_I, ADA_II, BO_I):
            store.blocks(info.id, T0_US, END)
        for who in (ADA.id, BO.id, None):
            store.events(who, T0_US, END)
        if store.opening_report.damage:
            raise StoreError(store.opening_report.damage[0])
    finally:
        store.close()


def test_an_untouched_store_reads_and_verifies(truth: Path, tmp_path: Path) -> None:
    tampered(truth, tmp_path / "home", lambda db: None)
    report = verified(tmp_path / "home")
    assert report is not None
    assert report.ok
    assert report.heads == 2
    read_all(tmp_path / "home")


ALTERED = "altered, or stands where it was not written"
NAMED: dict[Callable[[sqlite3.Connection], None], tuple[str, ...]] = {  # what `verify` must say of each
    swap_positions: (f"entry 23: wave .* {ALTERED}", f"entry 47: wave .* {ALTERED}"),
    swap_streams: (f"entry 23: wave .* {ALTERED}", f"entry 24: wave .* {ALTERED}"),
    swap_patients: (f"entry 23: wave of {ADA.id}.* {ALTERED}", f"entry 25: wave of {BO.id}.* {ALTERED}"),
    swap_patients_with_their_keys: (f"entry 23: wave of {ADA.id}.*data key", f"entry 25: wave of {BO.id}.*data key"),
    give_stream_to_other_patient: (f"entry 2: stream of {BO.id}.*data key",),
    exchange_patients: (f"entry 0: patient of {BO.id}.*data key", f"entry 1: patient of {ADA.id}.*data key"),
    shift_time: (f"entry 29: wave .*00:00:04.500Z.* {ALTERED}",),
    shift_index: (f"entry 29: wave .*00:00:04.000Z.* {ALTERED}",),
    take_out: ("entries 29 to 29 were taken out", "1 entries of its series before it are missing"),
    repeat_at_the_end: (f"entry 101: wave .* {ALTERED}",),
    alter_one_byte: (f"entry 29: wave .* {ALTERED}", "entries 0 to 52 are not those that the log's head was made of"),
    exchange_heads: ("the head of size 53 was not written with this box's key",),
    cut_the_end: ("entries are missing at the end, 101 were written",),
}


def test_each_tampering_has_its_name() -> None:
    assert set(NAMED) == {*READ_FAILS, *ONLY_VERIFY_TELLS, *OPENING_FAILS}


@pytest.mark.parametrize("act", NAMED)
def test_verify_names_what_was_done(act: Callable[[sqlite3.Connection], None], truth: Path, tmp_path: Path) -> None:
    tampered(truth, tmp_path / "home", act)
    done = CliRunner().invoke(records, ["verify", "--home", str(tmp_path / "home")])
    assert done.exit_code == 1
    for sentence in NAMED[act]:
        assert re.search(sentence, done.output), done.output
    assert "Ada" not in done.output


@pytest.mark.parametrize("act", READ_FAILS + OPENING_FAILS)
def test_reading_never_gives_what_was_not_written_there(
    act: Callable[[sqlite3.Connection], None], truth: Path, tmp_path: Path
) -> None:
    tampered(truth, tmp_path / "home", act)
    with pytest.raises(StoreError):
        read_all(tmp_path / "home")


def test_verify_names_the_altered_entry_its_patient_and_its_time(truth: Path, tmp_path: Path) -> None:
    tampered(truth, tmp_path / "home", alter_one_byte)
    report = verified(tmp_path / "home")
    assert report is not None
    first = report.findings[0]
    assert (first.subject, first.form) == (ADA.id, "wave")
    assert first.start == "2026-01-01T00:00:04.000Z"
    assert "Ada" not in "".join(one.sentence() for one in report.findings)


def test_the_frontier_gives_the_root_of_rfc_9162() -> None:
    leaves = [bytes([number]) * 32 for number in range(70)]
    frontier = Frontier()
    assert frontier.root() == root([])
    for size, leaf in enumerate(leaves, 1):
        frontier.append(leaf)
        assert frontier.root() == root(leaves[:size])
        assert Frontier(size, frontier.nodes).root() == frontier.root()
    with pytest.raises(StoreError):
        Frontier(3, [bytes(32)])
