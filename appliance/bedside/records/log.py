"""The log over all entries: an RFC 9162 Merkle tree that is kept while writing, and heads sealed with the box key.

The tree's leaves are not stored: they are worked out again from the entries when somebody asks. A head
is written with each checkpoint; who has not the box key can make neither a head nor an entry that opens.
Pure: bytes in, bytes out.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from bedside.core.errors import StoreError
from bedside.core.merkle import HASH_BYTES, node_hash

SEAL_PURPOSE = "log head"


class Frontier:
    """The right edge of the tree: the roots of its full subtrees, largest first. Grows by one leaf at a time."""

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        """Raises `StoreError` when so many nodes cannot belong to a tree of that size."""
        self.size = size
        self.nodes = list(nodes)
        if len(self.nodes) != size.bit_count() or any(len(node) != HASH_BYTES for node in self.nodes):
            raise StoreError(f"log: {len(self.nodes)} nodes do not make a tree of {size} leaves")

    def append(self, leaf: bytes) -> None:
        """Add a leaf's hash."""
        node, size = leaf, self.size
        while size & 1:
            node = node_hash(self.nodes.pop(), node)
            size >>= 1
        self.nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The tree's head, 32 bytes."""
        if not self.nodes:
            return hashlib.sha256(b"").digest()
        node = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            node = node_hash(left, node)
        return node

    def copy(self) -> Frontier:
        return Frontier(self.size, self.nodes)


def head_seal(key: bytes, size: int, root: bytes) -> bytes:
    """What proves that the holder of the box key wrote this head: HMAC-SHA256, 32 bytes."""
    return hmac.digest(key, b"bedside log head v1" + size.to_bytes(8, "big") + root, "sha256")
