"""One row of the store, and what of it is bound to its ciphertext."""

from __future__ import annotations

from typing import NamedTuple

import cbor2

from bedside.core.merkle import leaf_hash

COLUMNS = "position, form, series, seq, first_index, n, start_us, span_us, schema, data_key, sealed"
INSERT = f"INSERT INTO entry ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 (our own words)
INT64_END = 1 << 63


class Entry(NamedTuple):
    """A row as it lies in the table `entry`, or lay there before it was packed; times in microseconds UTC.

    A packed row has its plaintext in `plain`, and in `sealed` only the header that it was sealed under.
    """

    position: int
    form: int
    series: int
    seq: int
    first_index: int
    n: int  # samples or events
    start_us: int
    span_us: int
    schema: int
    data_key: int
    sealed: bytes
    plain: bytes | None = None

    @property
    def end_us(self) -> int:
        return self.start_us + self.span_us

    def row(self) -> tuple[int | bytes | None, ...]:
        """In the order of `COLUMNS`."""
        return self[:-1]


def binding(entry: Entry, patient: str, stream: str) -> bytes:
    """All that a reader takes from clear columns, so that a row opens only where, and as what, it was written."""
    return cbor2.dumps(
        [
            "bedside entry v1",
            patient,
            stream,
            entry.form,
            entry.schema,
            entry.position,
            entry.seq,
            entry.first_index,
            entry.n,
            entry.start_us,
            entry.span_us,
        ]  # of text and integers alone: the encoding is deterministic as it is
    )


def checkpoint_binding(patient: str, position: int, schema: int) -> bytes:
    return cbor2.dumps(["bedside checkpoint v1", patient, position, schema], canonical=True)


def leaf_of(entry: Entry, patient: str, stream: str) -> bytes:
    """The entry's leaf in the log: its binding (CBOR, so its length is known) and its ciphertext."""
    return leaf_hash(binding(entry, patient, stream) + entry.sealed)
