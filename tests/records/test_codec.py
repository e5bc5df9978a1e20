"""Samples come back to the bit, in less room, and damaged bytes give a clear error."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records.records_world import ecg_uv

from bedside.core.errors import StoreError
from bedside.core.samples import MISSING, Counts
from bedside.records import codec

pytestmark = pytest.mark.requirement("REC-005")

INT32 = st.integers(-(2**31), 2**31 - 1)
SMOOTH = st.lists(st.integers(-300, 300), max_size=300).map(lambda steps: [int(v) for v in np.cumsum(steps)])
COUNTS = st.one_of(
    st.lists(INT32, max_size=200),
    SMOOTH,
    SMOOTH.flatmap(lambda v: st.permutations([*v, MISSING, MISSING])),
    st.lists(st.sampled_from([0, MISSING, 2**31 - 1, -(2**31) + 1]), max_size=100),
).map(lambda values: np.array(values, np.int32))


@given(COUNTS)
def test_every_count_comes_back(counts: Counts) -> None:
    back = codec.decode(codec.encode(counts), counts.size)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, counts)


@given(COUNTS, st.data())
def test_altered_or_cut_bytes_give_counts_or_a_store_error_and_nothing_else(
    counts: Counts, data: st.DataObject
) -> None:
    coded = bytearray(codec.encode(counts))
    at = data.draw(st.integers(0, len(coded) - 1))
    coded[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(coded)))
    for damaged in (bytes(coded), bytes(coded[:cut]), bytes(coded) + b"\x00"):
        with contextlib.suppress(StoreError):
            assert codec.decode(damaged, counts.size).shape == counts.shape


@given(st.binary(max_size=200), st.integers(0, 500))
def test_any_bytes_give_counts_or_a_store_error(data: bytes, n: int) -> None:
    with contextlib.suppress(StoreError):
        assert codec.decode(data, n).size == n


def test_a_cut_or_lengthened_row_of_real_ecg_is_refused() -> None:
    coded = codec.encode(ecg_uv()[:130])
    for length in range(len(coded)):
        with pytest.raises(StoreError):
            codec.decode(coded[:length], 130)
    with pytest.raises(StoreError):
        codec.decode(coded + b"\x00", 130)


@pytest.mark.parametrize("seconds", [1, 10])
def test_real_ecg_takes_less_than_four_sevenths_of_16_bit_samples(seconds: int) -> None:
    whole, n = ecg_uv(), 130 * seconds
    rows = [whole[at : at + n] for at in range(0, whole.size - n, n)]
    assert sum(len(codec.encode(row)) for row in rows) < 4 / 7 * 2 * n * len(rows)


def test_a_row_with_missing_samples_stays_small() -> None:
    row = ecg_uv()[:130].copy()
    whole = len(codec.encode(row))
    row[40:60] = MISSING
    assert len(codec.encode(row)) < whole + 20


VALUES = st.integers(-(2**31) + 1, 2**31 - 1) | st.integers(-50, 50) | st.just(MISSING)


@given(rows=st.lists(st.lists(VALUES, min_size=1, max_size=70), max_size=8), same=st.integers(1, 70))
@settings(max_examples=150)
def test_rows_together_are_coded_as_each_by_itself(rows: list[list[int]], same: int) -> None:
    """Of one length, so that they go through together, and as they come."""
    for chosen in (rows, [(row * same)[:same] for row in rows]):
        arrays = [np.array(row, np.int32) for row in chosen]
        assert codec.encode_many(arrays) == [codec.encode(one) for one in arrays]


def test_a_wards_second_of_real_ecg_is_coded_as_each_stream_by_itself() -> None:
    ecg = ecg_uv()
    rows = [ecg[at : at + 130] for at in range(0, 130 * 200, 130)]
    together = codec.encode_many(rows)
    assert together == [codec.encode(row) for row in rows]
    for row, data in zip(rows, together, strict=True):
        np.testing.assert_array_equal(codec.decode(data, row.size), row)
