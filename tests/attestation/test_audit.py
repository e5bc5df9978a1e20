"""The audit: faked work is found as often as it must be, an empty box passes, and the messages hold."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attestation.attest_world import KeySigner

from bedside.attestation.audit import (
    CHALLENGES,
    Audit,
    AuditError,
    Offer,
    Subject,
    challenged,
    decode_ask,
    decode_offer,
    decode_result,
    encode_ask,
    encode_offer,
    encode_result,
    failures,
    is_signed,
    offer_of,
    sign,
)
from bedside.attestation.work import WORK_SLOTS, Piece, WorkTree
from bedside.core.sealing import OpeningKey

pytestmark = pytest.mark.requirement("ATT-005")

MODEL = hashlib.sha256(b"model").digest()
SUEID = b"\x01" + bytes(32)


def model(digest: bytes, inputs: bytes) -> bytes | None:
    """A model in miniature: any function of the bytes will do for the protocol."""
    return hashlib.sha256(digest + inputs).digest()[:4] if digest == MODEL else None


def honest(n: int) -> bytes:
    inputs = n.to_bytes(8, "big")
    outputs = model(MODEL, inputs)
    assert outputs is not None
    return Piece(MODEL, inputs, outputs, n).encode()


def faked(n: int) -> bytes:
    """The network was not run: "normal" is written down."""
    return Piece(MODEL, n.to_bytes(8, "big"), b"\x00\x00\x00\x00", n).encode()


def offered(tree: WorkTree, beacon: bytes | None = None) -> Offer:
    return offer_of(tree, Subject(SUEID, 7, tree.root, beacon or os.urandom(32)))


def test_honest_work_and_an_empty_box_both_hold() -> None:
    assert failures(offered(WorkTree.over(honest(n) for n in range(WORK_SLOTS))), model) == (0, CHALLENGES)
    assert failures(offered(WorkTree.over()), model) == (0, 0)
    failed, real = failures(offered(WorkTree.over(honest(n) for n in range(WORK_SLOTS // 2))), model)
    assert failed == 0
    assert 10 < real < 54


def test_five_percent_of_faked_windows_are_found_in_nineteen_epochs_of_twenty() -> None:
    """1 - 0.95**64 = 96 %. A work-tree of a busy hour is all work; the beacons are drawn after it is closed."""
    lot = random.Random(20261124)
    share = 51
    fakes = set(lot.sample(range(WORK_SLOTS), share))
    tree = WorkTree.over(faked(n) if n in fakes else honest(n) for n in range(WORK_SLOTS))
    bad = {at for at, one in enumerate(tree.openings) if Piece.decode(one.work).outputs == b"\x00\x00\x00\x00"}
    assert len(bad) == share
    caught = sum(not bad.isdisjoint(challenged(lot.randbytes(32), tree.root)) for _ in range(400))
    assert caught / 400 >= 0.93
    beacon = next(b for b in (lot.randbytes(32) for _ in range(100)) if not bad.isdisjoint(challenged(b, tree.root)))
    assert failures(offered(tree, beacon), model)[0] > 0


def test_one_step_of_another_machines_kernels_holds_and_two_do_not() -> None:
    for step, failed in ((0, 0), (1, 0), (2, CHALLENGES)):

        def other(digest: bytes, inputs: bytes, step: int = step) -> bytes | None:
            outputs = model(digest, inputs)
            assert outputs is not None
            return bytes((value + step) % 256 if value not in (127, 126) else value - step for value in outputs)

        tree = WorkTree.over(honest(n) for n in range(WORK_SLOTS))
        assert failures(offered(tree), other)[0] == failed
    assert failures(offered(tree), lambda _, __: b"short")[0] == CHALLENGES


def test_without_doing_the_work_again_faked_windows_pass() -> None:
    """Negative control: proofs alone say that bytes were committed, not that a model made them."""
    tree = WorkTree.over(faked(n) for n in range(WORK_SLOTS))
    assert failures(offered(tree), model)[0] == CHALLENGES
    assert failures(offered(tree), lambda _, __: b"\x00\x00\x00\x00")[0] == 0


def test_another_model_other_inputs_and_a_later_opening_do_not_hold() -> None:
    other = Piece(hashlib.sha256(b"cheaper").digest(), bytes(8), b"abcd", 1).encode()
    for work in (other, b"no piece of work", honest(1) + b"\x00"):
        assert failures(offered(WorkTree.over([work] * WORK_SLOTS)), model)[0] == CHALLENGES
    tree, beacon = WorkTree.over(faked(n) for n in range(WORK_SLOTS)), os.urandom(32)
    offer = offered(tree, beacon)
    mended = tuple(replace(one, opening=replace(one.opening, work=honest(1))) for one in offer.opened)
    assert failures(replace(offer, opened=mended), model)[0] == CHALLENGES


def test_leaves_that_are_withheld_moved_or_not_the_beacons_do_not_hold() -> None:
    tree = WorkTree.over(honest(n) for n in range(WORK_SLOTS))
    offer = offered(tree)
    assert failures(replace(offer, opened=offer.opened[5:]), model)[0] == 5
    moved = replace(offer.opened[0], leaf=offer.opened[1].leaf)
    assert failures(replace(offer, opened=(moved, *offer.opened[2:])), model)[0] == 2
    chosen = offer_of(tree, replace(offer.subject, beacon=os.urandom(32)))
    assert failures(replace(chosen, subject=offer.subject), model)[0] > CHALLENGES // 2


def test_a_beacon_picks_each_leaf_as_often_and_never_twice() -> None:
    root, counts = bytes(32), [0] * WORK_SLOTS
    for n in range(2000):
        picked = challenged(n.to_bytes(32, "big"), root)
        assert len(set(picked)) == CHALLENGES
        for leaf in picked:
            counts[leaf] += 1
    expected = 2000 * CHALLENGES / WORK_SLOTS  # 125; chi-square over 1023 degrees: mean 1023, SD 45
    assert sum((count - expected) ** 2 / expected for count in counts) < 1023 + 5 * 45
    assert challenged(bytes(32), root) == challenged(bytes(32), root)
    assert challenged(bytes(32), root) != challenged(bytes(32), b"\x01" * 32)


def test_the_signed_result_is_bound_to_all_that_it_is_about() -> None:
    site, subject = KeySigner(), Subject(SUEID, 7, b"\x02" * 32, b"\x03" * 32)
    audit = sign(subject, 0, True, site)
    assert audit == sign(subject, 0, True, site)
    assert is_signed(audit, subject, site.public_key)
    others = (
        replace(subject, sueid=b"\x01" + b"\x09" * 32), replace(subject, epoch=8), replace(subject, root=bytes(32)),
        replace(subject, beacon=bytes(32)),
    )  # fmt: skip
    assert not any(is_signed(audit, other, site.public_key) for other in others)
    assert not is_signed(replace(audit, failed=1), subject, site.public_key)
    assert not is_signed(replace(audit, in_service=False), subject, site.public_key)
    assert not is_signed(audit, subject, KeySigner().public_key)
    assert not is_signed(audit, subject, b"short")


def test_an_offer_is_read_by_its_auditor_alone_and_answers_one_question() -> None:
    gateway, reader, nonce = KeySigner(), OpeningKey.generate(), os.urandom(16)
    offer = offered(WorkTree.over(honest(n) for n in range(WORK_SLOTS)))
    sealed = encode_offer(offer, nonce, gateway, reader.public)
    assert decode_offer(sealed, nonce, reader, gateway.public_key) == offer
    assert honest(offer.opened[0].leaf)[:12] not in sealed
    for key, asked, signer in (
        (OpeningKey.generate(), nonce, gateway.public_key),
        (reader, bytes(16), gateway.public_key),
        (reader, nonce, KeySigner().public_key),
    ):
        with pytest.raises(AuditError):
            decode_offer(sealed, asked, key, signer)
    altered = bytearray(sealed)
    altered[-20] ^= 1
    with pytest.raises(AuditError, match="altered"):
        decode_offer(bytes(altered), nonce, reader, gateway.public_key)


def test_only_the_auditors_key_asks() -> None:
    site, nonce = KeySigner(), os.urandom(16)
    assert decode_ask(encode_ask(nonce, site), site.public_key) == nonce
    with pytest.raises(AuditError, match="not signed"):
        decode_ask(encode_ask(nonce, KeySigner()), site.public_key)


def test_results_come_back_as_they_were_sent() -> None:
    audit = sign(Subject(SUEID, 7, bytes(32), bytes(32)), 3, False, KeySigner())
    assert decode_result(encode_result(7, audit)) == (7, audit)
    assert Audit.from_map(audit.to_map()) == audit


@given(st.binary(max_size=300))
def test_no_bytes_make_a_decoder_raise_anything_else(data: bytes) -> None:
    for decode in (
        lambda: decode_ask(data, bytes(32)),
        lambda: decode_offer(data, bytes(16), READER, bytes(32)),
        lambda: decode_result(data),
    ):
        with pytest.raises(AuditError):
            decode()


@given(
    st.dictionaries(st.integers(0, 6), st.none() | st.integers(-5, 70) | st.binary(max_size=70) | st.text(max_size=3))
)
def test_values_are_an_audit_or_a_value_error(values: dict[int, object]) -> None:
    with pytest.raises(ValueError, match="audit"):
        Audit.from_map(values)


READER = OpeningKey.generate()
