"""The messages between gateway, operator and recipient: whole, cut, with bytes after them, and of constant size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attestation.attest_world import MEASURED, KeySigner

from bedside.attestation.alert import SEALED_BYTES
from bedside.attestation.exchange import (
    REPLY_BYTES,
    Ack,
    Enrolment,
    MessageError,
    PickedUp,
    Request,
    Sealed,
    Subject,
    decode_ack,
    decode_enrolment,
    decode_envelope,
    decode_picked_up,
    decode_pickup,
    decode_request,
    encode_ack,
    encode_enrolment,
    encode_envelope,
    encode_picked_up,
    encode_pickup,
    encode_request,
    envelope_kid,
)
from bedside.attestation.verify import Refusal

SIGNER = KeySigner()
ENROLMENT = Enrolment("token", SIGNER.public_key, b"\x01" + bytes(32), MEASURED)
PARTS = (Sealed(bytes(16), bytes(SEALED_BYTES)),)


@given(
    ok=st.booleans(),
    reason=st.sampled_from(["", "try_again", "token_expired", *Refusal]),
    epoch=st.integers(0, 2**40),
    beacon=st.binary(min_size=32, max_size=32),
)
def test_every_answer_to_a_gateway_has_the_same_size(ok: bool, reason: str, epoch: int, beacon: bytes) -> None:
    ack = Ack(ok, str(reason), epoch, beacon)
    data = encode_ack(ack)
    assert len(data) == REPLY_BYTES
    assert decode_ack(data) == ack


def test_messages_come_back_as_they_were() -> None:
    request = Request(Subject.BEACON, "0" * 32, b"")
    assert decode_request(encode_request(request)) == request
    assert decode_enrolment(encode_enrolment(ENROLMENT, SIGNER)) == ENROLMENT
    message = encode_envelope(180_000_000, PARTS, SIGNER)
    assert decode_envelope(message, SIGNER.public_key) == (180_000_000, PARTS)
    assert envelope_kid(message) is not None
    assert decode_pickup(encode_pickup(bytes(16), 7, 9)) == (bytes(16), 7, 9)
    items = (PickedUp(1, 2, b"kid", b"sealed"),)
    assert decode_picked_up(encode_picked_up(items)) == items


DECODERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (decode_request, encode_request(Request(Subject.STATEMENT, "f" * 32, b"xyz"))),
    (decode_ack, encode_ack(Ack(True))),
    (decode_enrolment, encode_enrolment(ENROLMENT, SIGNER)),
    (lambda data: decode_envelope(data, SIGNER.public_key), encode_envelope(1, PARTS, SIGNER)),
    (decode_pickup, encode_pickup(bytes(16), 7)),
    (decode_picked_up, encode_picked_up([PickedUp(1, 2, b"kid", b"sealed")])),
]


@pytest.mark.parametrize("which", range(len(DECODERS)))
def test_cut_anywhere_a_message_is_refused(which: int) -> None:
    decode, data = DECODERS[which]
    decode(data)
    for size in range(0, len(data), 1 if len(data) < 600 else 37):
        with pytest.raises(MessageError):
            decode(data[:size])


@pytest.mark.parametrize("which", [2, 3])
def test_signed_messages_with_bytes_after_them_are_refused(which: int) -> None:
    decode, data = DECODERS[which]
    with pytest.raises(MessageError):
        decode(data + b"\x00")


@given(data=st.binary(max_size=300), which=st.integers(0, len(DECODERS) - 1))
def test_no_bytes_raise_anything_else(data: bytes, which: int) -> None:
    try:
        DECODERS[which][0](data)
    except MessageError:
        return


def test_who_does_not_hold_the_key_cannot_enrol_it() -> None:
    with pytest.raises(MessageError, match="not signed"):
        decode_enrolment(encode_enrolment(ENROLMENT, KeySigner()))


def test_an_envelope_of_another_size_is_not_taken() -> None:
    with pytest.raises(MessageError, match="sealed part"):
        decode_envelope(encode_envelope(1, [Sealed(bytes(16), bytes(100))], SIGNER), SIGNER.public_key)
    with pytest.raises(MessageError, match="signature"):
        decode_envelope(encode_envelope(1, PARTS, SIGNER), KeySigner().public_key)
