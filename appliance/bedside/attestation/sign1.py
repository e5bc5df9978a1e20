"""Signed messages: COSE_Sign1 (RFC 9052, tag 18) with EdDSA, in deterministic CBOR (RFC 8949, 4.2.1).

One header form only: protected {alg: EdDSA, kid, typ}, nothing unprotected. The bytes are built and
read here with `cbor2` and `cryptography` alone, since the operator verifies every gateway's message
and a general COSE library spends several times the signature's own time (the README has figures).
The tests hold the result against the `cwt` package, both ways.

Deterministic form: every map's keys are integers, or all text, so that cbor2's canonical order
(shorter first, then by bytes) and the RFC's (by bytes) are the same order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ALG_EDDSA = -8
HEADER_ALG, HEADER_KID, HEADER_TYP = 1, 4, 16  # RFC 9052, 3.1; RFC 9596
KID_BYTES = 16
SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32
_TAG = b"\xd2"  # tag 18
_ARRAY4 = b"\x84"
_EMPTY_MAP = b"\xa0"


class Signer(Protocol):
    """A device key: a file today, a TPM later."""

    @property
    def public_key(self) -> bytes:
        """Ed25519, 32 raw bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 signature."""
        ...


@dataclass(frozen=True, slots=True)
class Signed:
    """A COSE_Sign1 taken apart, its signature not yet checked."""

    protected: bytes
    payload: bytes
    signature: bytes
    header: dict[Any, Any]
    unprotected: Any

    @property
    def kid(self) -> bytes | None:
        """The key that it names, or None."""
        kid = self.header.get(HEADER_KID)
        return kid if isinstance(kid, bytes) else None

    def verified_by(self, public_key: bytes) -> bool:
        """Whether this key signed it."""
        try:
            key = Ed25519PublicKey.from_public_bytes(public_key)
            key.verify(self.signature, _to_be_signed(self.protected, self.payload))
        except (InvalidSignature, ValueError):
            return False
        return True


class FormError(ValueError):
    """Bytes that are no COSE_Sign1, or no CBOR at all."""


def key_id(public_key: bytes) -> bytes:
    """The kid: the first 16 bytes of the public key's SHA-256."""
    return hashlib.sha256(public_key).digest()[:KID_BYTES]


def header_of(public_key: bytes, typ: str) -> dict[int, Any]:
    """The one protected header that we write and accept."""
    return {HEADER_ALG: ALG_EDDSA, HEADER_KID: key_id(public_key), HEADER_TYP: typ}


def sign1(payload: bytes, signer: Signer, typ: str) -> bytes:
    """`payload` signed: the bytes of a tagged COSE_Sign1."""
    protected = encode(header_of(signer.public_key, typ))
    return assemble(protected, payload, signer.sign(_to_be_signed(protected, payload)))


def assemble(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """The tagged array of its four parts, in deterministic CBOR."""
    return b"".join((_TAG, _ARRAY4, _bstr(protected), _EMPTY_MAP, _bstr(payload), _bstr(signature)))


def take_apart(data: bytes) -> Signed:
    """The parts of a tagged COSE_Sign1, leniently: the form is judged by `is_deterministic`. Raises `FormError`."""
    value = decode(data)
    if not isinstance(value, cbor2.CBORTag) or value.tag != 18:
        raise FormError("not tagged as COSE_Sign1")
    parts = value.value
    if not isinstance(parts, list | tuple) or len(parts) != 4:
        raise FormError("a COSE_Sign1 has four parts")
    protected, unprotected, payload, signature = parts
    if not (isinstance(protected, bytes) and isinstance(payload, bytes) and isinstance(signature, bytes)):
        raise FormError("header, payload and signature are byte strings")
    header = decode(protected)
    if not isinstance(header, dict):
        raise FormError("the protected header is a map")
    return Signed(protected, payload, signature, header, unprotected)


def is_deterministic(data: bytes, signed: Signed) -> bool:
    """Whether envelope and header are exactly the bytes that a deterministic encoder writes."""
    if data != assemble(signed.protected, signed.payload, signed.signature):
        return False
    try:
        return encode(signed.header) == signed.protected
    except Exception:  # noqa: BLE001  (a header of tags that decode to what cannot be encoded again)
        return False


def encode(value: Any) -> bytes:
    """Deterministic CBOR."""
    encoded: bytes = cbor2.dumps(value, canonical=True)
    return encoded


def decode(data: bytes) -> Any:
    """Whatever CBOR holds; bytes after the first item are not looked at. Raises `FormError`, and nothing else."""
    try:
        return cbor2.loads(data)
    except Exception as error:
        raise FormError("not CBOR") from error


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """Sig_structure of RFC 9052, 4.4, without external data: ["Signature1", protected, h'', payload]."""
    return b"".join((b"\x84\x6aSignature1", _bstr(protected), b"\x40", _bstr(payload)))


def _bstr(data: bytes) -> bytes:
    size = len(data)
    if size < 24:
        return bytes((0x40 | size,)) + data
    if size < 0x100:
        return bytes((0x58, size)) + data
    if size < 0x10000:
        return b"\x59" + size.to_bytes(2, "big") + data
    return b"\x5a" + size.to_bytes(4, "big") + data
