"""Packs: many old entries of one series in one row, so that what surrounds a row is paid once in minutes.

An entry keeps its place in the log. A pack holds the plaintext, the clear columns and the nonce of each
entry it replaces, so the bytes that were sealed, and the leaf that the log was made of, can be worked
out again to the bit: `verify` proves packed entries against the same heads as before. (AES-GCM under a
known nonce is a function; what is worked out is hashed and never stored.) Samples are not decoded on
the way: their codes are copied, which is what makes packing cheap.

    types (2): of its events, as in their rows | head length (4, little-endian)
    head: CBOR, deflated | the plaintexts, one after another

Pure: entries in, bytes out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, pairwise
from operator import add, or_
from typing import Any

import cbor2

from bedside.core.errors import StoreError
from bedside.records.entries import Entry
from bedside.records.schema import FORM_EVENTS
from bedside.records.sealing import HEADER_BYTES

PACK_SCHEMA = 1
PACK_COLUMNS = (
    "position, last_position, form, series, seq, count, n, start_us, span_us, schema, data_key, sealed"  # as in `Pack`
)
PACK_BOUNDS = PACK_COLUMNS.replace("sealed", "x''")
INSERT_PACK = f"INSERT INTO pack ({PACK_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 (our own)
_COUNTER_AT = HEADER_BYTES - 4
_HEAD_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Pack:
    """A row of the table `pack`. `start_us` and `span_us` enclose all its entries."""

    position: int
    last_position: int
    form: int
    series: int
    seq: int
    count: int
    n: int
    start_us: int
    span_us: int
    schema: int
    data_key: int
    sealed: bytes

    @property
    def end_us(self) -> int:
        return self.start_us + self.span_us

    def row(self) -> tuple[int | bytes, ...]:
        """In the order of `PACK_COLUMNS`."""
        return (
            self.position,
            self.last_position,
            self.form,
            self.series,
            self.seq,
            self.count,
            self.n,
            self.start_us,
            self.span_us,
            self.schema,
            self.data_key,
            self.sealed,
        )


def pack_binding(pack: Pack, patient: str, stream: str) -> bytes:
    """All that a reader takes from clear columns."""
    bounds = pack.row()[:-2]
    return cbor2.dumps(["bedside pack v1", patient, stream, *bounds], canonical=True)


def pack_of(entries: Sequence[Entry], data_key: int) -> Pack:
    """The bare pack (not sealed) for entries of one series, form, schema and data key, with seqs in a row."""
    start_us = min(entry.start_us for entry in entries)
    return Pack(
        position=entries[0].position,
        last_position=entries[-1].position,
        form=entries[0].form,
        series=entries[0].series,
        seq=entries[0].seq,
        count=len(entries),
        n=sum(entry.n for entry in entries),
        start_us=start_us,
        span_us=max(entry.end_us for entry in entries) - start_us,
        schema=PACK_SCHEMA,
        data_key=data_key,
        sealed=b"",
    )


def pack_entries(entries: Sequence[Entry], plains: Sequence[bytes]) -> bytes:
    """What a pack holds: the entries (with `sealed`, of which the header is kept) and their plaintexts."""
    first = entries[0]
    prefixes = [entry.sealed[:_COUNTER_AT] for entry in entries]
    openings = list(dict.fromkeys(prefixes))
    counters = [int.from_bytes(entry.sealed[_COUNTER_AT:HEADER_BYTES], "big") for entry in entries]
    head = [
        first.schema,
        first.data_key,
        openings,
        [openings.index(prefix) for prefix in prefixes] if len(openings) > 1 else [],
        _steps(counters),
        _steps([entry.position for entry in entries]),
        _steps([entry.start_us for entry in entries]),
        _steps([entry.first_index for entry in entries]),
        [entry.n for entry in entries],
        [entry.span_us for entry in entries],
        [len(plain) for plain in plains],
    ]
    deflated = zlib.compress(cbor2.dumps(head), 6)
    types = reduce(or_, (int.from_bytes(plain[:2], "big") for plain in plains)) if first.form == FORM_EVENTS else 0
    return b"".join((types.to_bytes(2, "big"), len(deflated).to_bytes(4, "little"), deflated, *plains))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Entries that overlap `[start_us, end_us)`, and (unless 0) have one of the `types`, a `packing.type_mask`."""

    start_us: int
    end_us: int
    types: int = 0


def unpack_entries(data: bytes, pack: Pack, wanted: Wanted | None = None) -> list[Entry]:
    """The entries of a pack, with `plain`; all, or those wanted.

    Raises `StoreError` where they are not what the clear columns say.
    """
    if wanted is not None and wanted.types and not int.from_bytes(data[:2], "big") & wanted.types:
        return []
    at = 6 + int.from_bytes(data[2:6], "little")
    try:
        unpacker = zlib.decompressobj()
        head = cbor2.loads(unpacker.decompress(data[6:at], _HEAD_BYTES_MAX))
        return _entries(head, data, at, pack, wanted)
    except (zlib.error, cbor2.CBORError, ValueError, TypeError, IndexError, OverflowError, EOFError) as error:
        raise StoreError(f"pack of {pack.count} entries from {pack.position} on: its bytes are damaged") from error


def _entries(head: list[Any], data: bytes, at: int, pack: Pack, wanted: Wanted | None) -> list[Entry]:
    schema, data_key, openings, which, counters, positions, starts, indexes, ns, spans, lengths = head
    positions, starts, indexes, counters = map(list, map(accumulate, (positions, starts, indexes, counters)))
    which = which or [0] * pack.count
    ends = list(accumulate(lengths, initial=at))
    columns = (positions, starts, indexes, counters, which, ns, spans, lengths)
    end_us = max(map(add, starts, spans))
    found = (positions[0], positions[-1], sum(ns), min(starts), end_us, ends[-1])
    stated = (pack.position, pack.last_position, pack.n, pack.start_us, pack.end_us, len(data))
    if found != stated or any(len(column) != pack.count for column in columns):
        raise ValueError("it holds other entries")
    return [
        Entry(
            position=positions[k],
            form=pack.form,
            series=pack.series,
            seq=pack.seq + k,
            first_index=indexes[k],
            n=ns[k],
            start_us=starts[k],
            span_us=spans[k],
            schema=schema,
            data_key=data_key,
            sealed=openings[which[k]] + counters[k].to_bytes(4, "big"),
            plain=data[ends[k] : ends[k + 1]],
        )
        for k in _chosen(starts, spans, ends, data, wanted)
    ]


def _chosen(
    starts: Sequence[int], spans: Sequence[int], ends: Sequence[int], data: bytes, wanted: Wanted | None
) -> Iterable[int]:
    if wanted is None:
        return range(len(starts))
    low, high, types = wanted.start_us, wanted.end_us, wanted.types
    return [
        k
        for k, (start_us, span_us, at) in enumerate(zip(starts, spans, ends, strict=False))
        if start_us < high and start_us + span_us >= low and not (types and not (data[at] << 8 | data[at + 1]) & types)
    ]


def _steps(values: list[int]) -> list[int]:
    """The first value, then differences: of regular rows they are all alike and deflate to nothing."""
    return [values[0], *(after - before for before, after in pairwise(values))]
