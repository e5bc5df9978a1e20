"""Backup and restore: hot, whole, verified, and never a nonce twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.records.records_world import T0_US, numeric, opened, patient, same_blocks, second, stream

from bedside.core.errors import SetupError, StoreError
from bedside.core.events import Audit
from bedside.core.ports import Batch
from bedside.records import compaction
from bedside.records.backup import MANIFEST, backup, restore
from bedside.records.cli import records
from bedside.records.sealing import HEADER_BYTES
from bedside.records.store import RecordStore, open_reader
from bedside.records.verify import verify
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-007")

ADA = patient("Ada Canary")
LEAD = stream(ADA)
END = T0_US + 10**12
PHRASE = "correct horse"


def fill(store: RecordStore, seconds: range) -> None:
    for at_s in seconds:
        store.write(Batch([second(LEAD, at_s)], [numeric(ADA, T0_US + at_s * 1_000_000)]))


def nonces(folder: Path) -> set[bytes]:
    reader = open_reader(Home(folder), passphrase=PHRASE)
    found = [entry.sealed[:HEADER_BYTES] for entry in reader.entries()]
    reader.close()
    assert len(set(found)) == len(found)
    return set(found)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backup of 40 seconds, half of them packed; the store goes on for 10 more."""
    monkeypatch.setattr(compaction, "PACK_US", 10_000_000)
    store = opened(tmp_path / "home", passphrase=PHRASE)
    store.put_patient(ADA)
    fill(store, range(25))
    while store.compact_step():
        pass
    fill(store, range(25, 40))
    reader = open_reader(Home(tmp_path / "home"), passphrase=PHRASE)
    backup(reader, tmp_path / "backup", now_us=T0_US)
    reader.close()
    fill(store, range(40, 50))
    store.close()
    return tmp_path / "backup"


def test_a_restored_backup_is_what_was_stored_when_it_was_made(made: Path, tmp_path: Path) -> None:
    restore(made, Home(tmp_path / "other"), passphrase=PHRASE)
    store = opened(tmp_path / "other", passphrase=PHRASE)
    assert store.opening_report.damage == ()
    assert list(store.patients()) == [ADA]
    assert same_blocks(store.blocks(LEAD.id, T0_US, END), [second(LEAD, at_s) for at_s in range(40)])
    assert len(store.events(ADA.id, T0_US, END)) == 40
    fill(store, range(40, 45))
    store.close()
    reader = open_reader(Home(tmp_path / "other"), passphrase=PHRASE)
    assert verify(reader).ok
    reader.close()


def test_no_nonce_is_used_twice_by_two_restored_boxes_and_the_first(made: Path, tmp_path: Path) -> None:
    common = None
    for name in ("one", "two"):
        restore(made, Home(tmp_path / name), passphrase=PHRASE)
        before = nonces(tmp_path / name)
        common = common or before
        assert before == common
        store = opened(tmp_path / name, passphrase=PHRASE)
        fill(store, range(40, 60))
        store.close()
    one, two, home = (nonces(tmp_path / name) - common for name in ("one", "two", "home")) if common else (set(),) * 3
    assert len(one) == len(two) == 40
    assert len(home) == 20
    assert not one & two
    assert not home & (one | two)


def test_a_backup_is_taken_while_the_store_is_written_and_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "PACK_US", 10_000_000)
    store = opened(tmp_path / "home", passphrase=PHRASE)
    store.put_patient(ADA)
    fill(store, range(20))
    stop = threading.Event()

    def go_on() -> None:
        at_s = 20
        while not stop.is_set():
            fill(store, range(at_s, at_s + 1))
            store.compact_step()
            at_s += 1

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        for number in range(3):
            reader = open_reader(Home(tmp_path / "home"), passphrase=PHRASE)
            backup(reader, tmp_path / f"backup{number}", now_us=T0_US)
            reader.close()
    finally:
        stop.set()
        writer.join()
        store.close()
    sizes = []
    for number in range(3):
        restore(tmp_path / f"backup{number}", Home(tmp_path / f"other{number}"), passphrase=PHRASE)
        other = opened(tmp_path / f"other{number}", passphrase=PHRASE)
        found = other.blocks(LEAD.id, T0_US, END)
        assert same_blocks(found, [second(LEAD, at_s) for at_s in range(len(found))])
        sizes.append(len(found))
        other.close()
    assert sizes == sorted(sizes)
    assert sizes[0] >= 20


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def forge_root(folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    content["root"] = "00" * 32
    (folder / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: flip(folder / "store.db"),
        lambda folder: flip(next((folder / "keys" / "data").glob("*/*.key"))),
        lambda folder: next((folder / "keys" / "data").glob("*/*.key")).unlink(),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text("{}"),
        forge_root,
    ],
)
def test_a_spoilt_backup_is_refused_and_leaves_no_records(
    spoil: Callable[[Path], object], made: Path, tmp_path: Path
) -> None:
    spoil(made)
    with pytest.raises((StoreError, SetupError)):
        restore(made, Home(tmp_path / "other"), passphrase=PHRASE)
    assert not (tmp_path / "other" / "store.db").exists()
    assert not (tmp_path / "other" / "keys").exists() or not list((tmp_path / "other" / "keys").rglob("*.key"))


def test_a_wrong_passphrase_and_a_folder_with_records_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError):
        restore(made, Home(tmp_path / "other"), passphrase="wrong")
    with pytest.raises(SetupError, match="already"):
        restore(made, Home(tmp_path / "home"), passphrase=PHRASE)
    reader = open_reader(Home(tmp_path / "home"), passphrase=PHRASE)
    assert len(reader.blocks(LEAD.id, T0_US, END)) == 50
    with pytest.raises(SetupError, match="already"):
        backup(reader, made, now_us=T0_US)
    reader.close()


def test_a_damaged_store_gives_no_backup(made: Path, tmp_path: Path) -> None:
    store = opened(tmp_path / "home", passphrase=PHRASE)
    store._connection.execute("UPDATE entry SET sealed = zeroblob(length(sealed)) WHERE form = 3")
    store.close()
    reader = open_reader(Home(tmp_path / "home"), passphrase=PHRASE)
    with pytest.raises(StoreError, match="does not verify"):
        backup(reader, tmp_path / "second", now_us=T0_US)
    reader.close()
    assert not list(tmp_path.glob("*second*"))


def test_a_backup_shows_no_name_and_has_private_files(made: Path) -> None:
    for path in made.rglob("*"):
        assert not path.stat().st_mode & 0o077
        if path.is_file():
            assert b"Canary" not in path.read_bytes()


def test_without_a_passphrase_a_backup_must_be_wanted_open_and_the_commands_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BEDSIDE_PASSPHRASE_FILE", raising=False)
    store = opened(tmp_path / "home")
    store.put_patient(ADA)
    fill(store, range(5))
    home, folder = str(tmp_path / "home"), str(tmp_path / "backup")
    refused = CliRunner().invoke(records, ["backup", folder, "--home", home])
    assert isinstance(refused.exception, SetupError)
    assert "passphrase" in refused.exception.hint
    copied = CliRunner().invoke(records, ["backup", folder, "--open-key", "--home", home])
    assert copied.exit_code == 0, copied.exception
    assert "verified" in copied.stdout
    store.close()
    back = CliRunner().invoke(records, ["restore", folder, "--home", str(tmp_path / "other")])
    assert back.exit_code == 0, back.exception
    other = opened(tmp_path / "other")
    (act,) = (one for one in other.events(None, 0, 2**62) if isinstance(one, Audit))
    assert act.action == "restored"
    assert len(other.blocks(LEAD.id, T0_US, END)) == 5
    other.close()
