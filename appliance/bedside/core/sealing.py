"""Sealing for one reader: HPKE (RFC 9180) in base mode, with the hybrid ML-KEM-768 + X25519 key encapsulation.

What is sealed today must stay closed to who records it and owns a quantum computer later, so the
hybrid is used, which `cryptography` 50 offers. Base mode does not say who sealed: what is inside
carries its own signature. Keys are raw bytes here (public 1,216, private 96), so that nothing above
needs to know the key encapsulation.

Keys and nonces come from the library's own randomness; nothing here can be seeded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from bedside.core.errors import BedsideError

SUITE_NAME = "MLKEM768_X25519 HKDF-SHA256 AES-256-GCM"
OVERHEAD_BYTES = 1136  # encapsulated key 1,120 (ML-KEM-768 1,088 + X25519 32) and the GCM tag 16
KEY_ID_BYTES = 16
_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_SEED_BYTES = 64
_X25519_BYTES = 32
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealError(BedsideError):
    """Sealed bytes that this key does not open: for another reader, or altered on the way."""


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A reader's public key: whoever holds it can seal for that reader."""

    raw: bytes  # ML-KEM-768 1,184 bytes, then X25519 32 bytes
    _key: MLKEM768X25519PublicKey = field(repr=False, compare=False)

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """From its 1,216 raw bytes. Raises `ValueError` when they are no such key."""
        if len(raw) != _MLKEM_PUBLIC_BYTES + _X25519_BYTES:
            raise ValueError(f"sealing key of {len(raw)} bytes: expected {_MLKEM_PUBLIC_BYTES + _X25519_BYTES}")
        mlkem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES])
        x25519 = X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:])
        return cls(raw, MLKEM768X25519PublicKey(mlkem, x25519))

    @property
    def id(self) -> bytes:
        """16 bytes that name the key: the start of its SHA-256."""
        return hashlib.sha256(self.raw).digest()[:KEY_ID_BYTES]

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """`plaintext` for this reader, `OVERHEAD_BYTES` longer; `info` is bound to it and must be given to open it."""
        return _SUITE.encrypt(plaintext, self._key, info)


@dataclass(frozen=True, slots=True)
class OpeningKey:
    """A reader's private key."""

    raw: bytes = field(repr=False)  # ML-KEM-768 seed 64 bytes, then X25519 32 bytes
    _key: MLKEM768X25519PrivateKey = field(repr=False, compare=False)
    public: SealingKey

    @classmethod
    def generate(cls) -> Self:
        """A new key pair."""
        return cls._from(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """From its 96 raw bytes. Raises `ValueError` when they are no such key."""
        if len(raw) != _MLKEM_SEED_BYTES + _X25519_BYTES:
            raise ValueError(f"opening key of {len(raw)} bytes: expected {_MLKEM_SEED_BYTES + _X25519_BYTES}")
        mlkem = MLKEM768PrivateKey.from_seed_bytes(raw[:_MLKEM_SEED_BYTES])
        return cls._from(mlkem, X25519PrivateKey.from_private_bytes(raw[_MLKEM_SEED_BYTES:]))

    @classmethod
    def _from(cls, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> Self:
        raw = mlkem.private_bytes_raw() + x25519.private_bytes_raw()
        public_raw = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        return cls(raw, MLKEM768X25519PrivateKey(mlkem, x25519), SealingKey.of(public_raw))

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """What was sealed. Raises `SealError` when it was for another key, with other `info`, or altered."""
        try:
            return _SUITE.decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError) as error:
            raise SealError("sealed bytes do not open with this key") from error
