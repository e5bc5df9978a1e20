"""Merkle tree hashing as Certificate Transparency defines it: roots and inclusion proofs over byte strings.

Source: RFC 9162, 2.1 (SHA-256; leaf prefix 0x00, node prefix 0x01; a tree of n leaves splits at the
largest power of two below n). Pure: no clock, file, socket or asyncio.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf's content (RFC 9162, 2.1.1): 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over its two children's hashes: 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The tree head over leaf *hashes* (`leaf_hash` of each content), in order. Of no leaf: SHA-256 of nothing.

    Built level by level, an odd last node moves up unchanged: the same tree as the RFC's recursion.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The audit path of leaf `index` over leaf hashes (RFC 9162, 2.1.3.1). Raises `ValueError` outside the tree."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"leaf {index}: the tree has {len(leaves)} leaves")
    path: list[bytes] = []
    level, position = list(leaves), index
    while len(level) > 1:
        sibling = position ^ 1
        if sibling < len(level):  # an odd last node has none at this level
            path.append(level[sibling])
        level, position = _parents(level), position >> 1
    return tuple(path)


def verify_inclusion(*, root_hash: bytes, leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bool:
    """Whether the leaf hash `leaf` stands at `index` of the tree of `size` leaves (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or any(len(step) != HASH_BYTES for step in proof):
        return False
    position, last, value = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False  # longer than the path can be
        if position & 1 or position == last:
            value = node_hash(step, value)
            while not position & 1 and position:  # the levels at which this last node had no sibling
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, step)
        position, last = position >> 1, last >> 1
    return last == 0 and value == root_hash


def _parents(level: list[bytes]) -> list[bytes]:
    parents = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    if len(level) & 1:
        parents.append(level[-1])
    return parents
