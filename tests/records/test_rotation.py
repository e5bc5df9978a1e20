"""A new box key: everything opens as before, wherever the change is cut short, and the old key opens nothing."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.records.records_world import CHEAP, T0_US, numeric, opened, patient, same_blocks, second, stream

from bedside.core.errors import SetupError, StoreError
from bedside.core.ports import Batch
from bedside.records import files, keys
from bedside.records.backup import backup, restore
from bedside.records.cli import records
from bedside.records.keys import KeyRing
from bedside.records.store import open_reader
from bedside.records.verify import verify
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-009")

ADA = patient("Ada")
LEAD = stream(ADA)
END = T0_US + 10**12


def fill(folder: Path, seconds: range, passphrase: str | None = None) -> None:
    store = opened(folder, passphrase=passphrase)
    store.put_patient(ADA)
    for at_s in seconds:
        store.write(Batch([second(LEAD, at_s)], [numeric(ADA, T0_US + at_s * 1_000_000)]))
    store.close()


def whole(folder: Path, seconds: int, passphrase: str | None = None) -> None:
    store = opened(folder, passphrase=passphrase)
    assert store.opening_report.damage == ()
    assert [one.name for one in store.patients()] == ["Ada"]
    assert same_blocks(store.blocks(LEAD.id, T0_US, END), [second(LEAD, at_s) for at_s in range(seconds)])
    store.close()
    reader = open_reader(Home(folder), passphrase=passphrase)
    report = verify(reader)
    reader.close()
    assert report.ok, report.findings  # the old heads, too
    assert report.heads > 0


class Cut(BaseException):
    """The process ends here."""


@contextmanager
def cut_after(calls: int, patch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every change of a key file counts; after so many the process ends, before or in the middle of the next."""
    left = [calls]
    real_write, real_forget = files.write_atomically, keys._forget

    def count() -> None:
        if not left[0]:
            raise Cut
        left[0] -= 1

    def write(path: Path, content: bytes) -> None:
        if not left[0]:
            path.with_name(f".{path.name}.new").write_bytes(content[: len(content) // 2])  # torn
        count()
        real_write(path, content)

    def forget(path: Path) -> None:
        count()
        real_forget(path)

    with patch.context() as patched:
        patched.setattr(keys, "write_atomically", write)
        patched.setattr(keys, "_forget", forget)
        yield left


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_a_change_cut_short_anywhere_loses_nothing_and_is_ended_by_the_next_start(
    passphrase: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "truth", range(5), passphrase)
    calls, ended = 0, False
    while not ended:
        folder = tmp_path / f"cut-{calls}"
        shutil.copytree(tmp_path / "truth", folder)
        ring = KeyRing.open(folder / "keys", passphrase=passphrase, cost=CHEAP)
        old = ring._box_key
        with cut_after(calls, monkeypatch):
            try:
                ring.rotate()
                ended = True
            except Cut:
                pass
        if not ended:  # a reader, who may write nothing, reads the half-changed state
            reader = open_reader(Home(folder), passphrase=passphrase)
            assert len(reader.blocks(LEAD.id, T0_US, END)) == 5
            reader.close()
        whole(folder, 5, passphrase)
        again = KeyRing.open(folder / "keys", passphrase=passphrase, cost=CHEAP)
        assert (again._box_key != old) is (calls > 0)
        assert not (folder / "keys" / "box.key.next").exists()
        calls += 1
    assert calls >= 10  # three patients' keys of records and identity, the box's, what lasts, box.key


def test_after_the_change_the_old_box_key_opens_no_data_key(tmp_path: Path) -> None:
    fill(tmp_path, range(2))
    shutil.copyfile(tmp_path / "keys" / "box.key", tmp_path / "old.key")
    KeyRing.open(tmp_path / "keys", passphrase=None).rotate()
    whole(tmp_path, 2)
    shutil.copyfile(tmp_path / "old.key", tmp_path / "keys" / "box.key")
    ring = KeyRing.open(tmp_path / "keys", passphrase=None)
    for path in (tmp_path / "keys" / "data").glob("*/*.key"):
        with pytest.raises(StoreError):
            ring.find(path.parent.name, path.name.split(".")[0], path.name.split(".")[1])


def test_records_are_written_while_the_key_is_changed_and_changed_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put_patient(ADA)
    done = threading.Event()

    def change() -> None:
        for _ in range(3):
            store.rotate_box_key()
        done.set()

    thread = threading.Thread(target=change)
    thread.start()
    at_s = 0
    while not done.is_set() or at_s < 70:  # over a checkpoint
        store.write(Batch([second(LEAD, at_s)], []))
        at_s += 1
    thread.join()
    store.close()
    whole(tmp_path, at_s)


def test_a_backup_from_before_the_change_still_restores(tmp_path: Path) -> None:
    fill(tmp_path / "home", range(3), "correct horse")
    reader = open_reader(Home(tmp_path / "home"), passphrase="correct horse")
    backup(reader, tmp_path / "monday", now_us=T0_US)
    reader.close()
    KeyRing.open(tmp_path / "home" / "keys", passphrase="correct horse").rotate()
    restore(tmp_path / "monday", Home(tmp_path / "new"), passphrase="correct horse")
    whole(tmp_path / "new", 3, "correct horse")


def test_a_damaged_half_of_the_change_is_refused_in_words(tmp_path: Path) -> None:
    fill(tmp_path, range(1))
    (tmp_path / "keys" / "box.key.next").write_bytes(os.urandom(50))
    with pytest.raises(SetupError, match=r"box\.key\.next is damaged"):
        opened(tmp_path)


def test_the_command_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEDSIDE_PASSPHRASE_FILE", raising=False)
    fill(tmp_path, range(2))
    before = KeyRing.open(tmp_path / "keys", passphrase=None)._box_key
    done = CliRunner().invoke(records, ["rotate", "--home", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert KeyRing.open(tmp_path / "keys", passphrase=None)._box_key != before
    whole(tmp_path, 2)
