"""Deleted entries: what they were is gone, their places in the log stay, so that the log is still proved to the bit.

A row of deletions stands in the table `pack` where its entries stood, with `DELETED_SCHEMA`: their positions and their
leaves (hashes of ciphertext that is no more), why and when, under a seal that only the box key makes. Whoever deletes
without that key, or alters what stands here, is found by reading and by `verify`. Pure: values in, bytes out.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import cbor2

from bedside.core.errors import StoreError
from bedside.core.merkle import HASH_BYTES
from bedside.records.entries import Entry
from bedside.records.packs import Pack, pack_binding

DELETED_SCHEMA = 0  # of a pack; real packs count from 1
DELETION_PURPOSE = "deleted entries"
_SEAL_BYTES = 32


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a row of deletions holds."""

    why: str  # "erased" or "retention"
    at_us: int
    next_index: int  # of a stream: after the last deleted sample
    positions: tuple[int, ...]
    leaves: tuple[bytes, ...]


def deletion_of(entries: Sequence[Entry], leaves: Sequence[bytes], why: str, at_us: int) -> tuple[Pack, Deletion]:
    """The bare row and its content, for entries of one series and form with seqs in a row."""
    start_us = min(entry.start_us for entry in entries)
    bare = Pack(
        position=entries[0].position,
        last_position=entries[-1].position,
        form=entries[0].form,
        series=entries[0].series,
        seq=entries[0].seq,
        count=len(entries),
        n=0,
        start_us=start_us,
        span_us=max(entry.end_us for entry in entries) - start_us,
        schema=DELETED_SCHEMA,
        data_key=0,
        sealed=b"",
    )
    next_index = max(entry.first_index + entry.n for entry in entries)
    positions = tuple(entry.position for entry in entries)
    return bare, Deletion(why, at_us, next_index, positions, tuple(leaves))


def pack_deletion(bare: Pack, names: tuple[str, str], deletion: Deletion, key: bytes) -> bytes:
    """What goes into the row's column `sealed`."""
    steps = [after - before for before, after in zip((0, *deletion.positions), deletion.positions, strict=False)]
    body = cbor2.dumps([deletion.why, deletion.at_us, deletion.next_index, steps, b"".join(deletion.leaves)])
    return hmac.digest(key, pack_binding(bare, *names) + body, "sha256") + body


def unpack_deletion(pack: Pack, names: tuple[str, str], keys: Iterable[bytes]) -> Deletion:
    """The reverse. `keys`: of this box, now and before. Raises `StoreError`: this box has not deleted that."""
    seal, body = pack.sealed[:_SEAL_BYTES], pack.sealed[_SEAL_BYTES:]
    bound = pack_binding(pack, *names) + body
    if not any(hmac.compare_digest(seal, hmac.digest(key, bound, "sha256")) for key in keys):
        raise StoreError("entries are said to be deleted, but this box did not delete them")
    try:
        why, at_us, next_index, steps, joined = cbor2.loads(body)
        leaves = tuple(joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES))
        if not len(steps) == len(leaves) == pack.count:
            raise ValueError("count")
        return Deletion(str(why), int(at_us), int(next_index), tuple(accumulate(steps)), leaves)
    except (cbor2.CBORError, ValueError, TypeError, EOFError) as error:
        raise StoreError("deleted entries: the row's bytes are damaged") from error


def places_of(pack: Pack, deletion: Deletion) -> list[Entry]:
    """Stubs that stand for the entries: `sealed` is the leaf itself."""
    return [
        Entry(
            position=position,
            form=pack.form,
            series=pack.series,
            seq=pack.seq + at,
            first_index=deletion.next_index,
            n=0,
            start_us=pack.start_us,
            span_us=pack.span_us,
            schema=DELETED_SCHEMA,
            data_key=0,
            sealed=leaf,
        )
        for at, (position, leaf) in enumerate(zip(deletion.positions, deletion.leaves, strict=True))
    ]


def is_deleted(entry: Entry) -> bool:
    """Whether it is a stub of `places_of`."""
    return entry.data_key == 0 and entry.schema == DELETED_SCHEMA
