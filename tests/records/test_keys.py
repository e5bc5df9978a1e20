"""The box key and the data keys: who gets them, who is refused, and what a person is told."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest
from tests.records.records_world import CHEAP

from bedside.core.errors import SetupError, StoreError
from bedside.records.keys import KeyRing, passphrase_from

pytestmark = pytest.mark.requirement("REC-003")


def ring(folder: Path, passphrase: str | None = None) -> KeyRing:
    return KeyRing.open(folder, passphrase=passphrase, cost=CHEAP)


def test_the_same_data_keys_come_back_and_differ_by_owner_and_purpose(tmp_path: Path) -> None:
    first = ring(tmp_path)
    made = {(owner, use): first.data_key(owner, use) for owner in ("a", "b", "box") for use in ("records", "identity")}
    assert len({key.raw for key in made.values()}) == 6
    again = ring(tmp_path)
    for (owner, use), key in made.items():
        assert again.data_key(owner, use) == key
        assert again.find(owner, use, key.id) == key


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_no_key_lies_in_the_clear_where_a_passphrase_is_set(tmp_path: Path, passphrase: str | None) -> None:
    keys = ring(tmp_path, passphrase)
    secret = keys.data_key("a", "records").raw
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    box_key = keys._box_key
    assert secret not in everything
    assert secret.hex().encode() not in everything
    assert (box_key.hex().encode() in everything) is (passphrase is None)  # the search finds what is there
    assert box_key.hex() not in repr(keys)
    assert secret.hex() not in repr(keys.data_key("a", "records"))


def test_key_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    ring(tmp_path).data_key("a", "records")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_wrong_passphrase_is_refused_with_a_sentence_that_says_so(tmp_path: Path) -> None:
    ring(tmp_path, "right")
    for given, word in (("wrong", "wrong"), ("Right", "wrong"), (None, "none was given")):
        with pytest.raises(SetupError, match=word) as caught:
            ring(tmp_path, given)
        assert caught.value.hint
    assert ring(tmp_path, "right").protected


def test_altered_parameters_of_the_key_file_are_refused(tmp_path: Path) -> None:
    ring(tmp_path, "right")
    path = tmp_path / "box.key"
    content = json.loads(path.read_bytes())
    for change in (
        {"kdf": content["kdf"] | {"iterations": 2}},
        {"kdf": content["kdf"] | {"memory_kib": 1 << 40}},
        {"sealed": content["sealed"][:-2] + "00"},
        {"sealed": "zz"},
        {"v": 99},
        {"id": "00" * 16},
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(SetupError):
            ring(tmp_path, "right")
    path.write_text(json.dumps(content))
    assert ring(tmp_path, "right").protected


def test_setting_changing_and_removing_the_passphrase_keeps_the_data_keys(tmp_path: Path) -> None:
    plain = ring(tmp_path)
    key = plain.data_key("a", "records")
    assert "steals the disk" in plain.describe()
    protected = ring(tmp_path, "first")  # given for the first time: protects from now on
    assert "sealed by a passphrase" in protected.describe()
    with pytest.raises(SetupError):
        ring(tmp_path)
    protected.change_passphrase("second", CHEAP)
    with pytest.raises(SetupError):
        ring(tmp_path, "first")
    assert ring(tmp_path, "second").data_key("a", "records") == key
    ring(tmp_path, "second").change_passphrase(None)
    assert ring(tmp_path).data_key("a", "records") == key


def test_a_lost_box_key_is_not_replaced_where_records_exist(tmp_path: Path) -> None:
    ring(tmp_path).data_key("a", "records")
    (tmp_path / "box.key").unlink()
    with pytest.raises(SetupError, match="missing"):
        ring(tmp_path)
    with pytest.raises(SetupError, match="missing"):
        KeyRing.open(tmp_path / "new", passphrase=None, may_create=lambda: False)


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    ring(tmp_path)
    (tmp_path / "box.key").chmod(0o644)
    with pytest.raises(SetupError, match="other users") as caught:
        ring(tmp_path)
    assert "chmod 600" in caught.value.hint


def test_a_data_key_that_was_moved_or_damaged_counts_as_lost_and_a_new_one_is_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ring(tmp_path)
    mine, other = keys.data_key("a", "records"), keys.data_key("b", "records")
    (tmp_path / "data/a" / f"records.{mine.id}.key").rename(tmp_path / "data/b" / f"records.{mine.id}.key")
    damaged = tmp_path / "data/b" / f"records.{other.id}.key"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    again = ring(tmp_path)
    with caplog.at_level(logging.ERROR):
        for owner, lost in (("a", mine), ("b", mine), ("b", other)):
            with pytest.raises(StoreError, match="lost"):
                again.find(owner, "records", lost.id)
    assert again.data_key("b", "records").raw not in (mine.raw, other.raw)
    assert mine.raw.hex() not in caplog.text


@pytest.mark.parametrize("owner", ["../x", "", ".", "a/b", "a" * 200, "ü"])
def test_an_owner_that_is_no_id_cannot_leave_the_folder(tmp_path: Path, owner: str) -> None:
    with pytest.raises(StoreError):
        ring(tmp_path).data_key(owner, "records")


def test_passphrase_sources_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEDSIDE_PASSPHRASE_FILE", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert passphrase_from() is None
    (tmp_path / "bedside-passphrase").write_text("of systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert passphrase_from() == "of systemd"
    (tmp_path / "mine").write_text("of a file\r\n")
    monkeypatch.setenv("BEDSIDE_PASSPHRASE_FILE", str(tmp_path / "mine"))
    assert passphrase_from() == "of a file"
    assert passphrase_from("given") == "given"
    (tmp_path / "mine").write_text("\n")
    with pytest.raises(SetupError, match="empty"):
        passphrase_from()
    monkeypatch.setenv("BEDSIDE_PASSPHRASE_FILE", str(tmp_path / "absent"))
    with pytest.raises(SetupError, match="cannot be read"):
        passphrase_from()


def test_the_default_cost_is_that_of_rfc_9106_and_recorded(tmp_path: Path) -> None:
    KeyRing.open(tmp_path, passphrase="a long one")
    kdf = json.loads((tmp_path / "box.key").read_bytes())["kdf"]
    assert (kdf["name"], kdf["iterations"], kdf["lanes"], kdf["memory_kib"]) == ("argon2id", 3, 4, 65536)
    assert KeyRing.open(tmp_path, passphrase="a long one").protected
