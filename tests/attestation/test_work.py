"""The work tree: one size with and without work, and each commitment proven."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.attestation.work import WORK_SLOTS, Piece, WorkSample, WorkTree
from bedside.core import merkle

pytestmark = pytest.mark.requirement("ATT-004")


def piece(n: int, slot: int = 0) -> Piece:
    return Piece(b"\x11" * 32, n.to_bytes(4, "big"), b"\x00", slot)


def test_a_tree_has_the_same_size_without_work_with_some_and_with_too_much() -> None:
    for pieces in (0, 3, WORK_SLOTS + 5):
        tree = WorkTree.over(piece(n).encode() for n in range(pieces))
        assert len(tree.leaves) == WORK_SLOTS
        assert sum(bool(opening.work) for opening in tree.openings) == min(pieces, WORK_SLOTS)
        assert len({len(leaf) for leaf in tree.leaves}) == 1


def test_committed_work_is_proven_and_other_work_is_not() -> None:
    work = piece(1).encode()
    tree = WorkTree.over([work])
    (at,) = (index for index, opening in enumerate(tree.openings) if opening.work)
    for claimed, expected in ((work, True), (piece(2).encode(), False)):
        assert expected == merkle.verify_inclusion(
            root_hash=tree.root,
            leaf=merkle.leaf_hash(tree.openings[at].salt + claimed),
            index=at,
            size=WORK_SLOTS,
            proof=tree.proof(at),
        )


def test_the_place_of_work_does_not_tell_how_much_there_was() -> None:
    """Work is put at random places: over many trees it is as often in the upper half as in the lower."""
    upper = 0
    for _ in range(200):
        tree = WorkTree.over([b"x"])
        upper += next(at for at, opening in enumerate(tree.openings) if opening.work) >= WORK_SLOTS // 2
    assert 50 < upper < 150


def test_the_same_work_commits_to_other_leaves_each_time() -> None:
    tree = WorkTree.over([b"same", b"same"])
    assert len(set(tree.leaves)) == WORK_SLOTS


def test_a_tree_comes_back_from_the_disk_as_it_was() -> None:
    tree = WorkTree.over([piece(n).encode() for n in range(10)])
    again = WorkTree.decode(tree.encode())
    assert again == tree
    assert again.root == tree.root
    for damaged in (b"", b"\x80", tree.encode()[:-1], b"\x9a" + tree.encode()[1:]):
        with pytest.raises(ValueError, match="work tree"):
            WorkTree.decode(damaged)


def test_a_busy_hour_is_sampled_evenly_over_its_slots_and_fills_the_tree() -> None:
    sample = WorkSample(slots_per_epoch=360)
    for slot in range(360):
        for n in range(40):
            sample.offer(piece(n, slot))
    found = [Piece.decode(opening.work) for opening in sample.close().openings if opening.work]
    assert len(found) == WORK_SLOTS
    by_slot = [sum(one.slot == slot for one in found) for slot in range(360)]
    assert max(by_slot) <= 3
    assert min(by_slot) >= 1 or by_slot.count(0) < 5
    late = sum(int.from_bytes(one.inputs, "big") >= 20 for one in found)
    assert 0.4 < late / WORK_SLOTS < 0.6  # the second half of a slot is as likely as the first


def test_a_sample_begins_anew_and_forgets_what_is_older_than_two_epochs() -> None:
    sample = WorkSample(slots_per_epoch=4)
    for slot in range(20):
        sample.offer(piece(slot, slot))
    kept = {Piece.decode(opening.work).slot for opening in sample.close().openings if opening.work}
    assert kept == set(range(12, 20))
    assert not any(opening.work for opening in sample.close().openings)
    with pytest.raises(ValueError, match="at most"):
        sample.offer(Piece(b"\x11" * 32, bytes(5000), b"", 0))


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_bytes_are_a_piece_of_work_or_a_value_error(data: bytes) -> None:
    try:
        found = Piece.decode(data)
    except ValueError:
        return
    assert found.encode() == data
