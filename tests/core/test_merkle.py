"""Merkle trees against RFC 9162's own recursion, and the published vectors of Certificate Transparency."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.core.merkle import inclusion_proof, leaf_hash, node_hash, root, verify_inclusion

pytestmark = pytest.mark.requirement("ATT-004")

# The test vectors of certificate-transparency-go and of RFC 6962's reference implementation: eight leaves.
LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def by_the_rfc(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word for word: split at the largest power of two below n."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + by_the_rfc(leaves[:k]) + by_the_rfc(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_published_vectors(size: int) -> None:
    assert root([leaf_hash(leaf) for leaf in LEAVES[:size]]).hex() == ROOTS[size - 1]


@given(leaves=st.lists(st.binary(max_size=8), max_size=70))
def test_roots_are_those_of_the_recursion(leaves: list[bytes]) -> None:
    assert root([leaf_hash(leaf) for leaf in leaves]) == by_the_rfc(leaves)


def test_every_leaf_of_every_tree_up_to_65_is_proven_and_no_other_place_is() -> None:
    leaves = [leaf_hash(bytes((n,))) for n in range(65)]
    for size in range(1, 66):
        head = root(leaves[:size])
        for index in range(size):
            proof = inclusion_proof(leaves[:size], index)
            assert verify_inclusion(root_hash=head, leaf=leaves[index], index=index, size=size, proof=proof)
            other = (index + 1) % size
            if other != index:
                assert not verify_inclusion(root_hash=head, leaf=leaves[index], index=other, size=size, proof=proof)


@given(size=st.integers(2, 40), data=st.data())
def test_a_changed_proof_proves_nothing(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes((n,))) for n in range(size)]
    index = data.draw(st.integers(0, size - 1))
    proof = list(inclusion_proof(leaves, index))
    at = data.draw(st.integers(0, len(proof) - 1))
    wrong = [
        [*proof[:at], os.urandom(32), *proof[at + 1 :]],
        proof[:at] + proof[at + 1 :],
        [*proof, os.urandom(32)],
        [*proof[:at], proof[at][:31], *proof[at + 1 :]],
    ]
    for changed in wrong:
        assert not verify_inclusion(root_hash=root(leaves), leaf=leaves[index], index=index, size=size, proof=changed)


def test_a_leaf_is_never_taken_for_a_node() -> None:
    """Without the prefixes of RFC 9162 the two hashes of an inner node would be a valid leaf."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


def test_a_place_outside_the_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="3 leaves"):
        inclusion_proof([leaf_hash(b"")] * 3, 3)
    assert not verify_inclusion(root_hash=leaf_hash(b""), leaf=leaf_hash(b""), index=1, size=1, proof=[])
