"""The work tree: one size with and without work, and each commitment proven."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bedside.attestation.work import WORK_SLOTS, Commitment, WorkTree
from bedside.core import merkle

pytestmark = pytest.mark.requirement("ATT-004")


def test_a_tree_has_the_same_size_without_work_with_some_and_with_too_much() -> None:
    for pieces in (0, 3, WORK_SLOTS + 5):
        tree = WorkTree()
        made = [tree.commit(bytes((n % 256, n // 256))) for n in range(pieces)]
        assert len(tree.leaves) == WORK_SLOTS
        assert sum(item is not None for item in made) == min(pieces, WORK_SLOTS)
        assert len({len(leaf) for leaf in tree.leaves}) == 1


def test_committed_work_is_proven_and_other_work_is_not() -> None:
    tree = WorkTree()
    commitment = tree.commit(b"digest, input, output, slot")
    assert commitment is not None
    proof, head = tree.proof(commitment.slot), tree.root()
    for work, expected in ((b"digest, input, output, slot", True), (b"another output", False)):
        assert expected == merkle.verify_inclusion(
            root_hash=head, leaf=commitment.leaf(work), index=commitment.slot, size=WORK_SLOTS, proof=proof
        )


def test_the_place_of_work_does_not_tell_how_much_there_was() -> None:
    """Work is put at random places: over many trees the first piece is as often in the upper half as in the lower."""
    upper = sum(commitment.slot >= WORK_SLOTS // 2 for commitment in _first_of(200))
    assert 50 < upper < 150


def test_the_same_work_commits_to_other_leaves_each_time() -> None:
    tree = WorkTree()
    first, second = tree.commit(b"same"), tree.commit(b"same")
    assert first is not None
    assert second is not None
    assert tree.leaves[first.slot] != tree.leaves[second.slot]


def _first_of(trees: int) -> Iterator[Commitment]:
    for _ in range(trees):
        commitment = WorkTree().commit(b"x")
        assert commitment is not None
        yield commitment
