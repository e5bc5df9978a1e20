"""Sealing: only the reader's key opens, only whole, and only for what it was sealed for."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.core.sealing import OVERHEAD_BYTES, OpeningKey, SealError, SealingKey

pytestmark = pytest.mark.requirement("ATT-003")

KEY = OpeningKey.generate()


@given(plaintext=st.binary(max_size=3000), info=st.binary(max_size=40))
def test_what_is_sealed_opens_and_grows_by_the_same_bytes(plaintext: bytes, info: bytes) -> None:
    sealed = KEY.public.seal(plaintext, info)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert KEY.open(sealed, info) == plaintext


def test_keys_survive_as_raw_bytes() -> None:
    again = OpeningKey.of(KEY.raw)
    assert again.public.raw == KEY.public.raw
    assert again.open(SealingKey.of(KEY.public.raw).seal(b"x", b"i"), b"i") == b"x"
    assert SealingKey.of(KEY.public.raw).id == KEY.public.id


def test_another_key_another_purpose_and_altered_bytes_do_not_open() -> None:
    sealed = KEY.public.seal(b"vital", b"info")
    with pytest.raises(SealError):
        OpeningKey.generate().open(sealed, b"info")
    with pytest.raises(SealError):
        KEY.open(sealed, b"other")
    for at in (0, 500, 1100, len(sealed) - 1):
        altered = bytearray(sealed)
        altered[at] ^= 1
        with pytest.raises(SealError):
            KEY.open(bytes(altered), b"info")
    with pytest.raises(SealError):
        KEY.open(sealed[:-1], b"info")
    with pytest.raises(SealError):
        KEY.open(b"", b"info")


def test_the_same_plaintext_is_never_sealed_to_the_same_bytes() -> None:
    assert KEY.public.seal(b"x", b"i") != KEY.public.seal(b"x", b"i")


def test_bytes_that_are_no_key_are_refused() -> None:
    with pytest.raises(ValueError, match="sealing key"):
        SealingKey.of(os.urandom(1215))
    with pytest.raises(ValueError, match="opening key"):
        OpeningKey.of(b"")


def test_a_key_does_not_show_itself() -> None:
    assert KEY.raw.hex()[:16] not in repr(KEY)
    assert repr(KEY.raw)[2:20] not in repr(KEY)
