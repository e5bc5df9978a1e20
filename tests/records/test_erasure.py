"""Erasing a patient: nothing of her can be read again, from the box or a backup, and the log still verifies."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.records.records_world import T0_US, audit, numeric, opened, patient, same_blocks, second, stream

from bedside.core.errors import RejectedError, StoreError
from bedside.core.ports import Batch
from bedside.records import life
from bedside.records.backup import backup, erase_from, restore
from bedside.records.cli import records
from bedside.records.deletion import DELETED_SCHEMA
from bedside.records.erasure import Certificate, certificate_from, certificates_in, keep_certificate
from bedside.records.store import RecordStore, open_reader
from bedside.records.verify import VerifyReport, verify
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-008")

ADA, BO = patient("Ada Secret", "Bed 9"), patient("Bo")
ADA_I, BO_I = stream(ADA, "I"), stream(BO, "I")
SECONDS = 40
END = T0_US + 10**12
PHRASE = "correct horse"


def fill(store: RecordStore, seconds: range) -> None:
    for at_s in seconds:
        at_us = T0_US + at_s * 1_000_000
        events = [numeric(ADA, at_us), numeric(BO, at_us), audit(at_us)]
        store.write(Batch([second(ADA_I, at_s), second(BO_I, at_s)], events))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    phrase = tmp_path / "phrase"
    phrase.write_text(PHRASE)
    monkeypatch.setenv("BEDSIDE_PASSPHRASE_FILE", str(phrase))
    store = opened(tmp_path / "home")
    store.put_patient(ADA)
    store.put_patient(BO)
    fill(store, range(SECONDS // 2))
    store.compact_step()
    for series in (ADA_I, ADA, BO_I):  # packs and rows
        numbers = store._state.streams[series.id] if series in (ADA_I, BO_I) else [store._state.patients[series.id]]
        rows = store._connection.execute(
            "SELECT position FROM entry WHERE series = ? AND form >= 3 ORDER BY position", (numbers[-1],)
        ).fetchall()
        store._pack([row[0] for row in rows])
    fill(store, range(SECONDS // 2, SECONDS))
    store.close()
    return tmp_path / "home"


def verified(home: Path) -> VerifyReport:
    reader = open_reader(Home(home))
    try:
        return verify(reader)
    finally:
        reader.close()


def gone(home: Path) -> None:
    """Ada cannot be read, Bo can, all of it verifies."""
    store = opened(home)
    assert [one.id for one in store.patients()] == [BO.id]
    assert list(store.erased()) == [ADA.id]
    assert store.blocks(ADA_I.id, T0_US, END) == []
    assert store.events(ADA.id, T0_US, END) == []
    assert same_blocks(store.blocks(BO_I.id, T0_US, END), [second(BO_I, at_s) for at_s in range(SECONDS)])
    left = store._connection.execute(
        "SELECT count(*) FROM entry JOIN series ON series = number WHERE owner = ?", (store._state.patients[ADA.id],)
    ).fetchone()
    assert left == (0,)
    assert store.keys.ids_of(ADA.id) == []
    with pytest.raises(RejectedError, match="erased"):
        store.put_patient(ADA)
    with pytest.raises(RejectedError, match="erased"):
        store.write(Batch([], [numeric(ADA, T0_US)]))
    store.close()
    report = verified(home)
    assert report.ok, report.findings
    assert report.deleted > 2 * SECONDS


def erased(home: Path) -> Certificate:
    store = opened(home)
    try:
        return store.erase_patient(ADA.id, actor="user x", reason="asked to")
    finally:
        store.close()


def test_an_erased_patient_is_gone_others_stay_and_the_log_has_the_same_root(home: Path) -> None:
    before = verified(home)
    assert before.deleted == 0
    certificate = erased(home)
    gone(home)
    after = verified(home)
    assert (after.entries, after.root) == (before.entries, before.root)
    assert certificate.log_root == before.root
    assert certificate.entries == 2 * SECONDS + 2  # samples, numbers, her description and the stream's


def test_the_bytes_of_her_rows_are_no_longer_in_any_file(home: Path) -> None:
    store = opened(home)
    sealed = [
        row[0][21:61]  # behind the header
        for row in store._connection.execute(
            "SELECT sealed FROM entry JOIN series ON series = number WHERE owner = ?", (store._state.patients[ADA.id],)
        )
    ]
    keys = [path.read_bytes() for path in (home / "keys" / "data" / ADA.id).glob("*.key")]
    wrapped = [bytes.fromhex(json.loads(one)["wrapped"]).hex().encode() for one in keys]
    store.close()

    def found() -> int:
        everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
        return sum(one in everything for one in [*sealed, *wrapped])

    assert len(sealed) > SECONDS / 2
    assert found() == len(sealed) + len(wrapped)  # the same search finds them before
    erased(home)
    assert found() == 0


def test_the_certificate_is_signed_checked_without_the_box_and_names_nobody(home: Path, tmp_path: Path) -> None:
    certificate = erased(home)
    path = home / "keys" / "erased" / f"{ADA.id}.json"
    assert certificate_from(path.read_bytes()) == certificate
    assert "Secret" not in path.read_text()
    told = CliRunner().invoke(records, ["certificate", str(path)])
    assert told.exit_code == 0
    assert ADA.id in told.output
    changes: tuple[dict[str, Any], ...] = (
        {"patient": BO.id},
        {"entries": 1},
        {"reason": "none"},
        {"keys": []},
        {"signature": "00" * 64},
    )
    for change in changes:
        altered = tmp_path / "altered.json"
        altered.write_text(json.dumps(json.loads(path.read_text()) | change))
        assert CliRunner().invoke(records, ["certificate", str(altered)]).exit_code == 1


@pytest.mark.parametrize("steps", range(7))
def test_an_erasure_that_is_cut_short_is_ended_by_the_next_start(
    steps: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception):
        pass

    left = steps
    real_step, real_keep = life.LivingRecords._delete_some, keep_certificate

    def count() -> None:
        nonlocal left
        if not left:
            raise Cut
        left -= 1

    def step(self: life.LivingRecords, *words: Any) -> int:
        count()
        return real_step(self, *words)

    def keep(*words: Any) -> Path:
        count()
        return real_keep(*words)

    with monkeypatch.context() as patched:
        patched.setattr(life, "STEP_PACKS", 1)
        patched.setattr(life.LivingRecords, "_delete_some", step)
        patched.setattr(life, "keep_certificate", keep)
        store = opened(home)
        with pytest.raises(Cut):
            store.erase_patient(ADA.id, actor="x", reason="y")
        store._connection.close()  # as a killed process leaves it
        store._folder_lock.release()
    gone(home)


def test_a_restored_older_backup_is_erased_again_by_a_newer_one_beside_it(home: Path, tmp_path: Path) -> None:
    for name in ("monday", "tuesday"):
        if name == "tuesday":
            erased(home)
        reader = open_reader(Home(home))
        backup(reader, tmp_path / "backups" / name, now_us=T0_US)
        reader.close()
    restore(tmp_path / "backups" / "monday", Home(tmp_path / "new"), passphrase=PHRASE)
    gone(tmp_path / "new")


def test_without_any_certificate_an_older_backup_holds_her_so_the_certificate_is_what_erases(
    home: Path, tmp_path: Path
) -> None:
    reader = open_reader(Home(home))
    backup(reader, tmp_path / "backups" / "monday", now_us=T0_US)
    reader.close()
    certificate = erased(home)
    restore(tmp_path / "backups" / "monday", Home(tmp_path / "alone"), passphrase=PHRASE)
    store = opened(tmp_path / "alone")
    assert [one.id for one in store.patients()] == [ADA.id, BO.id]
    store.close()
    path = tmp_path / "certificate.json"
    path.write_text(certificate.to_json())
    restore(tmp_path / "backups" / "monday", Home(tmp_path / "new"), passphrase=PHRASE, certificates=[path])
    gone(tmp_path / "new")


def test_she_is_erased_from_a_backup_too_and_it_still_restores(home: Path, tmp_path: Path) -> None:
    reader = open_reader(Home(home))
    backup(reader, tmp_path / "one" / "monday", now_us=T0_US)
    reader.close()
    certificate = erased(home)
    before = sorted(path.name for path in (tmp_path / "one" / "monday").iterdir())
    for _ in range(2):  # it may be repeated
        erase_from(tmp_path / "one" / "monday", certificate, passphrase=PHRASE)
    assert sorted(path.name for path in (tmp_path / "one" / "monday").iterdir()) == before
    assert not (tmp_path / "one" / "monday" / "keys" / "data" / ADA.id).exists()
    restore(tmp_path / "one" / "monday", Home(tmp_path / "new"), passphrase=PHRASE)
    gone(tmp_path / "new")


def test_keys_that_are_put_back_are_destroyed_again(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "keys", tmp_path / "keys")
    erased(home)
    shutil.copytree(tmp_path / "keys" / "data" / ADA.id, home / "keys" / "data" / ADA.id)
    store = opened(home)
    assert "erased, as certified" in " ".join(store.opening_report.damage)
    store.close()
    gone(home)


def test_a_certificate_of_another_box_erases_nobody(home: Path, tmp_path: Path) -> None:
    other = opened(tmp_path / "other")
    foreign = erased(home)
    forged = Certificate(**{**json.loads(foreign.to_json()), "patient": BO.id, "keys": ()}).signed(other.keys)
    other.close()
    (home / "keys" / "erased" / f"{BO.id}.json").write_text(forged.to_json())
    store = opened(home)
    assert [one.id for one in store.patients()] == [BO.id]
    assert "another box" in " ".join(store.opening_report.damage)
    store.close()
    assert len(certificates_in(home / "keys" / "erased")) == 2


def test_who_deletes_without_the_key_is_found(home: Path) -> None:
    """An administrator can work a leaf out from the ciphertext, but not the box's seal on its deletion."""
    from bedside.records.deletion import deletion_of, pack_deletion
    from bedside.records.packs import INSERT_PACK

    store = opened(home)
    (number,) = store._state.streams[BO_I.id]
    entries = [one for one in store.entries() if one.series == number and one.form == 3 and one.plain is None][:5]
    bare, deletion = deletion_of(entries, [store.leaf(one) for one in entries], "retention", T0_US)
    forged = pack_deletion(bare, store._state.names(number), deletion, b"no key of this box")
    with store._connection:
        for one in entries:
            store._connection.execute("DELETE FROM entry WHERE position = ?", (one.position,))
        store._connection.execute(INSERT_PACK, replace(bare, sealed=forged).row())
    with pytest.raises(StoreError, match="did not delete"):
        store.blocks(BO_I.id, T0_US, END)
    store.close()
    findings = [one.sentence() for one in verified(home).findings]
    assert any("did not delete" in one for one in findings)


def test_the_command_erases_here_and_in_the_backup_and_says_so(home: Path, tmp_path: Path) -> None:
    words = ["--home", str(home)]
    made = CliRunner().invoke(records, ["backup", str(tmp_path / "one" / "monday"), *words])
    assert made.exit_code == 0, made.output
    backups = ["--backup", str(tmp_path / "one" / "monday")]
    refused = CliRunner().invoke(records, ["erase", ADA.id, "--reason", "asked to", *backups, *words], input="n\n")
    assert refused.exit_code == 1
    done = CliRunner().invoke(records, ["erase", ADA.id, "--reason", "asked to", "--yes", *backups, *words])
    assert done.exit_code == 0, done.output
    assert "2 keys destroyed" in done.output
    assert "erased there, too" in done.output
    assert CliRunner().invoke(records, ["verify", *words]).exit_code == 0
    gone(home)


def test_a_deletion_keeps_where_a_stream_goes_on(home: Path) -> None:
    """Samples that were deleted after their time do not make a stream begin at 0 again."""
    store = opened(home)
    (number,) = store._state.streams[BO_I.id]
    while store.delete_before([number], END, "retention"):
        pass
    store._connection.execute("DELETE FROM checkpoint")
    store.close()
    store = opened(home)
    store._connection.execute("DELETE FROM checkpoint")  # worked out from all entries
    store._connection.close()
    store._folder_lock.release()
    store = opened(home)
    assert store.next_index(BO_I.id) == SECONDS * 130
    assert store.blocks(BO_I.id, T0_US, END) == []
    rows = store._connection.execute(f"SELECT count(*) FROM pack WHERE schema = {DELETED_SCHEMA}").fetchone()
    assert rows[0] > 0
    store.close()
