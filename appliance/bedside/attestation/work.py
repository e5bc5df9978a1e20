"""The work tree: salted commitments to an epoch's inferences, in a tree whose size never changes.

A tree that grew with the work would tell how much work there was, and so whether there is a patient.
So there are `WORK_SLOTS` leaves an epoch, always: a leaf that no work took holds a random value that
looks the same as a commitment. When there is more work than leaves it is sampled, evenly over the
epoch: whoever fakes a part of the work cannot know which part will be asked for. Salts and work stay on
the box and are opened to the care site's auditor alone. Hashing: RFC 9162 (`core.merkle`).

Pure: no clock, file, socket or asyncio. Salts and places come from the system's randomness, never seeded.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Self

from bedside.attestation.sign1 import FormError, decode, encode
from bedside.core import merkle

WORK_DEPTH: Final = 10
WORK_SLOTS: Final = 1 << WORK_DEPTH
SALT_BYTES: Final = 32
TENSOR_BYTES_MAX: Final = 4096
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Piece:
    """One inference as it is committed."""

    model: bytes  # SHA-256 of the model's bytes as loaded
    inputs: bytes  # the int8 tensor that went in
    outputs: bytes  # the int8 tensor that came out
    slot: int  # when: the number of the 10 s slot

    def encode(self) -> bytes:
        """Deterministic CBOR: [model, inputs, outputs, slot]."""
        return encode([self.model, self.inputs, self.outputs, self.slot])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises `ValueError` when these bytes are no piece of work."""
        try:
            values = decode(data)
        except FormError as error:
            raise ValueError("work: not CBOR") from error
        if not isinstance(values, list) or len(values) != 4:
            raise ValueError("work: expected [model, inputs, outputs, slot]")
        model, inputs, outputs, slot = values
        tensors = isinstance(inputs, bytes) and isinstance(outputs, bytes)
        if not isinstance(model, bytes) or len(model) != _DIGEST_BYTES or not tensors or type(slot) is not int:
            raise ValueError("work: a field has the wrong type or size")
        piece = cls(model, inputs, outputs, slot)
        if piece.encode() != data:
            raise ValueError("work: not in deterministic CBOR")
        return piece


@dataclass(frozen=True, slots=True)
class Opening:
    """What a leaf was made from. `work` empty: it is a dummy."""

    salt: bytes
    work: bytes

    @property
    def leaf(self) -> bytes:
        """The leaf's hash."""
        return merkle.leaf_hash(self.salt + self.work)


@dataclass(frozen=True)
class WorkTree:
    """One epoch's tree, closed: its leaves do not change any more."""

    openings: tuple[Opening, ...] = field(repr=False)

    @classmethod
    def over(cls, works: Iterable[bytes] = ()) -> Self:
        """Commit to these pieces of work (encoded) at random places; more than `WORK_SLOTS` are chosen by lot."""
        kept = [work for work in works if work]
        lot = secrets.SystemRandom()
        if len(kept) > WORK_SLOTS:
            kept = lot.sample(kept, WORK_SLOTS)
        kept += [b""] * (WORK_SLOTS - len(kept))
        lot.shuffle(kept)
        return cls(tuple(Opening(secrets.token_bytes(SALT_BYTES), work) for work in kept))

    @cached_property
    def leaves(self) -> tuple[bytes, ...]:
        """The leaf hashes, dummies and commitments alike."""
        return tuple(opening.leaf for opening in self.openings)

    @cached_property
    def root(self) -> bytes:
        """The tree's head over all leaves."""
        return merkle.root(self.leaves)

    def proof(self, leaf: int) -> tuple[bytes, ...]:
        """The audit path of one leaf."""
        return merkle.inclusion_proof(self.leaves, leaf)

    def encode(self) -> bytes:
        """For the box's own disk, under its own encryption: all salts and all work."""
        return encode([[opening.salt, opening.work] for opening in self.openings])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises `ValueError` when these bytes are no tree."""
        try:
            rows: Any = decode(data)
        except FormError as error:
            raise ValueError("work tree: not CBOR") from error
        if not isinstance(rows, list) or len(rows) != WORK_SLOTS:
            raise ValueError(f"work tree: expected {WORK_SLOTS} leaves")
        openings = tuple(Opening(*row) for row in rows if isinstance(row, list) and len(row) == 2)
        if len(openings) != WORK_SLOTS or any(
            not isinstance(one.salt, bytes) or len(one.salt) != SALT_BYTES or not isinstance(one.work, bytes)
            for one in openings
        ):
            raise ValueError("work tree: a leaf has the wrong form")
        return cls(openings)


class WorkSample:
    """An even sample of an epoch's work: from each slot at most its share of the leaves, each piece as likely.

    Bounded: no more slots are remembered than two epochs have, the oldest go first. Not safe for several
    threads at once.
    """

    def __init__(self, slots_per_epoch: int) -> None:
        """Raises `ValueError` when an epoch has no slot."""
        if slots_per_epoch < 1:
            raise ValueError("slots_per_epoch: expected at least 1")
        self._share = -(-WORK_SLOTS // slots_per_epoch)
        self._slots_max = 2 * slots_per_epoch
        self._slots: dict[int, tuple[int, list[bytes]]] = {}  # by slot: how many were offered, and which are kept

    def offer(self, piece: Piece) -> None:
        """One inference was made."""
        if len(piece.inputs) > TENSOR_BYTES_MAX or len(piece.outputs) > TENSOR_BYTES_MAX:
            raise ValueError(f"tensor: at most {TENSOR_BYTES_MAX} bytes are committed")
        offered, kept = self._slots.get(piece.slot, (0, []))
        if offered < self._share:
            kept.append(piece.encode())
        elif (place := secrets.randbelow(offered + 1)) < self._share:
            kept[place] = piece.encode()
        self._slots[piece.slot] = offered + 1, kept
        if len(self._slots) > self._slots_max:
            del self._slots[next(iter(self._slots))]

    def close(self) -> WorkTree:
        """Commit to the sample, and begin the next."""
        slots, self._slots = self._slots, {}
        return WorkTree.over(work for _, kept in slots.values() for work in kept)
