"""Trends of numbers: least, greatest, sum and count of each minute, kept while writing, an hour in one sealed row.

A week on a screen is read from 168 small rows, however many numbers it was. Minutes that are younger
than the last checkpoint wait in the state; they are worked out again after a crash, as the state is.
Pure: values in, bytes and arrays out.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import cbor2
import numpy as np
import numpy.typing as npt

from bedside.core.errors import StoreError
from bedside.core.events import Numeric

TREND_SCHEMA = 1
MINUTE_US = 60_000_000
MINUTES = 60  # of a row
BUCKETS_MAX = 100_000
_ROW_BYTES_MAX = 1 << 20

Sum: TypeAlias = tuple[float, float, float, int]  # least, greatest, sum, count
Minutes: TypeAlias = dict[tuple[str, int], Sum]  # by code and minute since 1970
Table: TypeAlias = npt.NDArray[np.void]
_ROW = np.dtype([("at_us", "<i8"), ("low", "<f8"), ("high", "<f8"), ("sum", "<f8"), ("count", "<i8")])


@dataclass(frozen=True, slots=True)
class TrendBucket:
    """What a number was in `[start_us, end_us)`: None and 0 where there was none."""

    start_us: int
    end_us: int
    low: float | None
    high: float | None
    mean: float | None
    count: int


def add(minutes: Minutes, event: Numeric) -> None:
    """Count one number in. One that was withheld is none."""
    if event.value is None or not math.isfinite(event.value):
        return
    value = float(event.value)
    put(minutes, (str(event.code), event.start_us // MINUTE_US), (value, value, value, 1))


def put(minutes: Minutes, key: tuple[str, int], more: Sum) -> None:
    """Count a minute's sum in."""
    known = minutes.get(key)
    if known is not None:
        more = min(known[0], more[0]), max(known[1], more[1]), known[2] + more[2], known[3] + more[3]
    minutes[key] = more


def by_hour(minutes: Minutes) -> dict[int, Minutes]:
    """The same, by the hour in whose row they belong."""
    hours: dict[int, Minutes] = {}
    for (code, minute), one in minutes.items():
        hours.setdefault(minute // MINUTES, {})[code, minute] = one
    return hours


def trend_binding(patient: str, hour: int, schema: int) -> bytes:
    return cbor2.dumps(["bedside trend v1", patient, hour, schema])


def pack_hour(minutes: Mapping[tuple[str, int], Sum]) -> bytes:
    """An hour's row."""
    by_code: dict[str, list[tuple[int | float, ...]]] = {}
    for (code, minute), one in sorted(minutes.items()):
        by_code.setdefault(code, []).append((minute * MINUTE_US, *one))
    return zlib.compress(
        cbor2.dumps({code: np.array(rows, _ROW).tobytes() for code, rows in by_code.items()}, canonical=True), 6
    )


def unpack_hour(data: bytes) -> dict[str, Table]:
    """By code: a table with the columns at_us, low, high, sum, count. Raises `StoreError`."""
    try:
        codes = cbor2.loads(zlib.decompressobj().decompress(data, _ROW_BYTES_MAX))
        return {str(code): np.frombuffer(rows, _ROW) for code, rows in codes.items()}
    except (zlib.error, cbor2.CBORError, ValueError, TypeError, AttributeError, EOFError) as error:
        raise StoreError("trend: the row's bytes are damaged") from error


def minutes_of(codes: Mapping[str, Table]) -> Minutes:
    """The reverse of what `pack_hour` takes."""
    return {
        (code, int(at_us) // MINUTE_US): (float(low), float(high), float(total), int(count))
        for code, table in codes.items()
        for at_us, low, high, total, count in table.tolist()
    }


def table_of(minutes: Mapping[tuple[str, int], Sum], code: str) -> Table:
    """Of one code, as `unpack_hour` gives it."""
    rows = [(minute * MINUTE_US, *one) for (name, minute), one in minutes.items() if name == code]
    return np.array(rows, _ROW)


def table_of_numbers(events: Iterable[Numeric]) -> Table:
    """Each number by itself, of any code."""
    values = ((event.start_us, event.value) for event in events if event.value is not None)
    return np.array([(at_us, value, value, value, 1) for at_us, value in values if math.isfinite(value)], _ROW)


def bucketed(tables: Iterable[Table], start_us: int, end_us: int, buckets: int) -> list[TrendBucket]:
    """Rows of `[start_us, end_us)`, each counted in the bucket in which it begins."""
    rows = np.concatenate([np.empty(0, _ROW), *tables])
    edges = [start_us + (end_us - start_us) * at // buckets for at in range(buckets + 1)]
    rows = rows[(rows["at_us"] >= start_us) & (rows["at_us"] < end_us)]
    where = np.searchsorted(np.array(edges, np.int64), rows["at_us"], side="right") - 1
    low, high, total = np.full(buckets, np.inf), np.full(buckets, -np.inf), np.zeros(buckets)
    count = np.zeros(buckets, np.int64)
    np.minimum.at(low, where, rows["low"])
    np.maximum.at(high, where, rows["high"])
    np.add.at(total, where, rows["sum"])
    np.add.at(count, where, rows["count"])
    return [
        TrendBucket(begin, end, least, greatest, summed / n, n) if n else TrendBucket(begin, end, None, None, None, 0)
        for begin, end, least, greatest, summed, n in zip(
            edges, edges[1:], low.tolist(), high.tolist(), total.tolist(), count.tolist(), strict=False
        )
    ]
