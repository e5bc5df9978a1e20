"""A sealed row opens in its own place alone, and no nonce is ever used twice."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.records.records_world import T0_US, numeric, opened, patient, second, stream

from bedside.core.errors import StoreError
from bedside.core.ports import Batch
from bedside.records.sealing import OVERHEAD_BYTES, SALT_BYTES, Opener, Sealer

pytestmark = pytest.mark.requirement("REC-001")

KEY = bytes(range(32))


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_what_was_sealed_opens(plain: bytes, bound: bytes) -> None:
    sealed = Sealer(KEY).seal(plain, bound)
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert Opener(KEY).open(sealed, bound) == plain


def test_any_flipped_bit_another_place_another_key_and_any_cut_are_refused() -> None:
    sealed = Sealer(KEY).seal(b"beat", b"here")
    opener = Opener(KEY)
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreError):
            opener.open(bytes(altered), b"here")
    for length in range(len(sealed)):
        with pytest.raises(StoreError):
            opener.open(sealed[:length], b"here")
    with pytest.raises(StoreError):
        opener.open(sealed, b"there")
    with pytest.raises(StoreError):
        Opener(bytes(32)).open(sealed, b"here")
    assert opener.open(sealed, b"here") == b"beat"  # the check itself lets the true one through


def test_a_counter_at_its_end_gets_a_new_salt() -> None:
    sealer = Sealer(KEY)
    first = sealer.seal(b"", b"")
    sealer._counter = 2**32 - 1
    last, after = sealer.seal(b"", b""), sealer.seal(b"", b"")
    assert first[1 : 1 + SALT_BYTES] == last[1 : 1 + SALT_BYTES] != after[1 : 1 + SALT_BYTES]
    assert Opener(KEY).open(after, b"") == b""


def test_a_forked_process_seals_under_another_salt() -> None:
    sealer = Sealer(KEY)
    mine = sealer.seal(b"", b"")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, sealer.seal(b"", b""))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 100)
    os.close(read)
    os.close(write)
    assert mine[1 : 1 + SALT_BYTES] != theirs[1 : 1 + SALT_BYTES]


def nonces(folder: Path) -> Counter[tuple[int, bytes]]:
    """(data key, salt and counter) of every sealed value in a store."""
    connection = sqlite3.connect(folder / "store.db")
    rows = connection.execute(
        "SELECT data_key, sealed FROM entry UNION ALL SELECT data_key, sealed FROM checkpoint"
    ).fetchall()
    connection.close()
    return Counter((key, sealed[1 : 1 + SALT_BYTES + 4]) for key, sealed in rows)


def test_no_nonce_repeats_over_openings_nor_in_two_copies_that_both_write(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    ada = patient()
    info = stream(ada)
    for opening in range(3):
        store = opened(home)
        store.put_patient(ada)
        for at in range(20):
            at_s = 20 * opening + at
            store.write(Batch([second(info, at_s)], [numeric(ada, T0_US + at_s * 1_000_000)]))
        if opening == 1:  # a copy taken while the store is in use
            shutil.copytree(home, copy, ignore=shutil.ignore_patterns("store.lock"))
        store.close()
    clone = opened(copy)
    for at_s in range(40, 60):
        clone.write(Batch([second(info, at_s + 100)], [numeric(ada, T0_US + at_s * 1_000_000, 40.0)]))
    clone.close()
    original, copied = nonces(home), nonces(copy)
    assert max(original.values()) == 1
    assert max(copied.values()) == 1
    kept_by_both = len(original & copied)
    assert 40 < kept_by_both < 100  # the rows from before the copy, which are the same rows
    before = {name for name, _ in (original & copied).items()}
    assert not (set(original) - before) & (set(copied) - before)


def test_the_check_finds_a_repeated_nonce_where_the_salt_is_fixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bedside.records.sealing.os.urandom", lambda n: bytes(n))
    ada = patient()
    for opening in range(2):
        store = opened(tmp_path)
        store.put_patient(ada)
        store.write(Batch([], [numeric(ada, T0_US + opening)]))
        store.close()
    assert max(nonces(tmp_path).values()) > 1
