"""Heads that left the box: what its own administrator rewrites, rolls back or forks shows against them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cheroot.wsgi import Server
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records.records_world import T0_US, numeric, opened, patient, second, stream

from bedside.core.errors import LinkError, SetupError, StoreError
from bedside.core.ports import Batch
from bedside.records.cli import records
from bedside.records.keys import KeyRing
from bedside.records.store import open_reader
from bedside.records.verify import VerifyReport, verify
from bedside.records.witness import (
    FolderWitness,
    HeadWitness,
    HttpWitness,
    SignedHead,
    head_from,
    signed_head,
    witness_at,
)
from bedside.records.witness_server import make_app
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-004")

ADA = patient("Ada")
LEAD = stream(ADA)


def fill(home: Path, seconds: range, witness: HeadWitness | None) -> None:
    store = opened(home)
    store.put_patient(ADA)
    for at_s in seconds:
        store.write(Batch([second(LEAD, at_s)], [numeric(ADA, T0_US + at_s * 1_000_000)]))
        if witness is not None:
            witness.keep(store.signed_head(T0_US + at_s * 1_000_000))
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> FolderWitness:
    (tmp_path / "elsewhere").mkdir()
    return FolderWitness(tmp_path / "elsewhere")


@pytest.fixture
def served(folder: FolderWitness) -> Iterator[HttpWitness]:
    server = Server(("127.0.0.1", 0), make_app(folder), numthreads=2)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield HttpWitness(f"http://127.0.0.1:{server.bind_addr[1]}")
    server.stop()
    thread.join()


@pytest.fixture(params=["folder", "served"])
def witness(request: pytest.FixtureRequest) -> HeadWitness:
    made: HeadWitness = request.getfixturevalue(request.param)
    return made


def verified(home: Path, witness: HeadWitness) -> VerifyReport:
    reader = open_reader(Home(home))
    try:
        return verify(reader, witness.heads(reader.keys.box_id))
    finally:
        reader.close()


def sentences(report: VerifyReport) -> str:
    return " | ".join(one.sentence() for one in report.findings)


def test_an_honest_store_agrees_with_all_its_heads(witness: HeadWitness, tmp_path: Path) -> None:
    fill(tmp_path / "home", range(10), witness)
    fill(tmp_path / "home", range(10, 15), None)
    report = verified(tmp_path / "home", witness)
    assert report.ok, report.findings
    assert report.witnessed == 10


def test_last_weeks_copy_is_found_and_the_lost_time_is_named(witness: HeadWitness, tmp_path: Path) -> None:
    fill(tmp_path / "home", range(5), witness)
    shutil.copytree(tmp_path / "home", tmp_path / "last week")
    fill(tmp_path / "home", range(5, 10), witness)
    assert verified(tmp_path / "home", witness).ok
    reader = open_reader(Home(tmp_path / "last week"))
    assert verify(reader).ok  # alone it is a whole store
    reader.close()
    report = verified(tmp_path / "last week", witness)
    assert "rolled back" in sentences(report)
    assert "2026-01-01T00:00:05.000Z" in sentences(report)
    fill(tmp_path / "last week", range(20, 30), None)  # it grows past the heads: another history
    assert "are not those witnessed at 2026-01-01T00:00:05" in sentences(verified(tmp_path / "last week", witness))


def test_who_has_all_keys_and_rewrites_the_log_is_found(witness: HeadWitness, tmp_path: Path) -> None:
    """The box's administrator: same keys, same sizes, another history with heads sealed by the box key itself."""
    opened(tmp_path / "home").close()
    shutil.copytree(tmp_path / "home", tmp_path / "forged")
    fill(tmp_path / "home", range(8), witness)
    fill(tmp_path / "forged", range(100, 108), None)
    reader = open_reader(Home(tmp_path / "forged"))
    assert verify(reader).ok
    reader.close()
    assert "are not those witnessed" in sentences(verified(tmp_path / "forged", witness))


def test_the_witness_refuses_what_contradicts_it_and_keeps_what_it_had(witness: HeadWitness, tmp_path: Path) -> None:
    keys = KeyRing.open(tmp_path / "keys", passphrase=None)
    other = KeyRing.open(tmp_path / "other", passphrase=None)
    head = signed_head(keys, 10, b"a" * 32, T0_US)
    witness.keep(head)
    witness.keep(head)  # again: no change
    refusals = {
        "rolled back": signed_head(keys, 9, b"a" * 32, T0_US),
        "rewritten": signed_head(keys, 10, b"b" * 32, T0_US),
        "another key": replace(signed_head(other, 11, b"c" * 32, T0_US), box=keys.box_id),
    }
    refusals["another key"] = _signed_by(other, refusals["another key"])
    for word, wrong in refusals.items():
        with pytest.raises(StoreError, match=word):
            witness.keep(wrong)
    assert witness.heads(keys.box_id) == [head]
    later = signed_head(keys, 11, b"c" * 32, T0_US)
    witness.keep(later)
    assert witness.heads(keys.box_id) == [head, later]
    assert witness.heads("00" * 16) == []


def _signed_by(keys: KeyRing, head: SignedHead) -> SignedHead:
    """A head in another box's name."""
    box_id, keys.box_id = keys.box_id, head.box
    try:
        return signed_head(keys, head.size, bytes.fromhex(head.root), head.time_us)
    finally:
        keys.box_id = box_id


def test_the_witness_key_stays_when_the_box_key_is_changed(folder: FolderWitness, tmp_path: Path) -> None:
    fill(tmp_path / "home", range(3), folder)
    KeyRing.open(tmp_path / "home" / "keys", passphrase=None).rotate()
    fill(tmp_path / "home", range(3, 6), folder)
    KeyRing.open(tmp_path / "home" / "keys", passphrase=None).rotate()
    fill(tmp_path / "home", range(6, 9), folder)
    report = verified(tmp_path / "home", folder)
    assert report.ok, report.findings
    assert report.witnessed == 9


def test_a_torn_line_of_a_power_cut_is_no_head_and_hides_none(folder: FolderWitness, tmp_path: Path) -> None:
    keys = KeyRing.open(tmp_path / "keys", passphrase=None)
    heads = [signed_head(keys, size, bytes([size]) * 32, T0_US) for size in (1, 2, 3)]
    folder.keep(heads[0])
    folder.keep(heads[1])
    path = folder.folder / f"{keys.box_id}.heads"
    whole = path.read_bytes()
    line = f"{heads[2].to_json()}\n".encode()
    for cut in range(0, len(line), 7):
        path.write_bytes(whole + line[:cut])
        assert folder.heads(keys.box_id) == heads[:2]
        folder.keep(heads[2])
        assert folder.heads(keys.box_id) == heads


@given(data=st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
@settings(max_examples=100)
def test_what_is_no_head_is_refused_with_one_error(data: bytes) -> None:
    with pytest.raises(StoreError):
        head_from(data)


def test_every_altered_field_of_a_head_is_refused(tmp_path: Path) -> None:
    head = signed_head(KeyRing.open(tmp_path / "keys", passphrase=None), 7, b"a" * 32, T0_US)
    assert head_from(head.to_json()) == head
    for wrong in (
        replace(head, size=8), replace(head, root="bb" * 32), replace(head, time_us=1), replace(head, box="cc" * 16),
        replace(head, signature="dd" * 64), replace(head, public_key="ee" * 32),
    ):  # fmt: skip
        with pytest.raises(StoreError):
            head_from(wrong.to_json())


def test_a_witness_that_is_away_is_a_link_error(tmp_path: Path) -> None:
    head = signed_head(KeyRing.open(tmp_path / "keys", passphrase=None), 7, b"a" * 32, T0_US)
    for away in (FolderWitness(tmp_path / "not mounted"), HttpWitness("http://127.0.0.1:9")):
        with pytest.raises(LinkError):
            away.keep(head)
        with pytest.raises(LinkError):
            away.heads(head.box)
    with pytest.raises(SetupError):
        witness_at("ftp://elsewhere")


def test_the_command_compares_with_the_witness(folder: FolderWitness, tmp_path: Path) -> None:
    home = tmp_path / "home"
    fill(home, range(3), folder)
    shutil.copytree(home, tmp_path / "old")
    fill(home, range(3, 5), folder)
    for place, code, word in ((home, 0, "5 witnessed: all as written"), (tmp_path / "old", 1, "rolled back")):
        done = CliRunner().invoke(records, ["verify", "--witness", str(folder.folder), "--home", str(place)])
        assert done.exit_code == code, done.output
        assert word in done.output
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(records, ["verify", "--witness", str(tmp_path / "empty"), "--home", str(home)])
    assert done.exit_code == 1  # nothing compared is not "all as written"
