"""The work tree: salted commitments to an epoch's inferences, in a tree whose size never changes.

A tree that grew with the work would tell how much work there was, and so whether there is a patient.
So there are `WORK_SLOTS` leaves an epoch, always: a slot that no work took holds a random value that
looks the same as a commitment. Hashing: RFC 9162 (`core.merkle`). Salts stay on the box and are
opened to the care site's auditor alone. Pure: no clock, file, socket or asyncio.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

from bedside.core import merkle

WORK_DEPTH = 10
WORK_SLOTS = 1 << WORK_DEPTH
SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Commitment:
    """Where a piece of work was committed, and the salt that opens it."""

    slot: int
    salt: bytes

    def leaf(self, work: bytes) -> bytes:
        """The leaf hash that this salt and `work` make."""
        return merkle.leaf_hash(self.salt + work)


class WorkTree:
    """One epoch's tree. All leaves begin as dummies; work replaces them at random places until none is free."""

    def __init__(self) -> None:
        self._leaves = [merkle.leaf_hash(os.urandom(SALT_BYTES)) for _ in range(WORK_SLOTS)]
        self._free = list(range(WORK_SLOTS))

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """The leaf hashes, dummies and commitments alike."""
        return tuple(self._leaves)

    def commit(self, work: bytes) -> Commitment | None:
        """Take a free slot for `work`; None when all are taken (an epoch's work is sampled, not counted)."""
        if not self._free:
            return None
        at = secrets.randbelow(len(self._free))
        self._free[at], self._free[-1] = self._free[-1], self._free[at]
        commitment = Commitment(self._free.pop(), os.urandom(SALT_BYTES))
        self._leaves[commitment.slot] = commitment.leaf(work)
        return commitment

    def root(self) -> bytes:
        """The tree's head over all slots."""
        return merkle.root(self._leaves)

    def proof(self, slot: int) -> tuple[bytes, ...]:
        """The audit path of one slot."""
        return merkle.inclusion_proof(self._leaves, slot)
