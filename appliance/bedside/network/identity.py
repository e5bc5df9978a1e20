"""Who the gateway is to one operator: a signing key and a pseudonym, both made for this operator alone.

Two operators cannot find out that they serve the same box: they see different keys and different
pseudonyms (EAT `sueids`). A software key in a 0600 file is the lowest assurance tier, and said so;
the `Signer` port is where a TPM takes its place.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bedside.attestation.sign1 import key_id
from bedside.attestation.statement import SUEID_BYTES
from bedside.core.errors import SetupError
from bedside.core.keyfiles import load_or_make, read_public_file, write_public_file

_SEED_BYTES = 32
_SUEID_RANDOM = b"\x01"  # RFC 9711, 4.2.1: type RAND
DEFAULT_OPERATOR = "local"
PUBLIC_FILE = "gateway-public.json"  # beside the keys: what recipients are given


@dataclass(frozen=True, slots=True)
class Identity:
    """The gateway's key towards one operator. A `Signer`."""

    operator: str
    sueid: bytes
    public_key: bytes
    _key: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def load_or_make(cls, keys: Path, operator: str = DEFAULT_OPERATOR) -> Self:
        """From `keys/network-OPERATOR.key`, made at the first call. Raises `SetupError` when it is damaged."""
        path = keys / f"network-{operator}.key"
        data = load_or_make(path, _new_secret)
        if len(data) != _SEED_BYTES + SUEID_BYTES or data[_SEED_BYTES : _SEED_BYTES + 1] != _SUEID_RANDOM:
            raise SetupError(
                f"key file {path} is damaged: {len(data)} bytes, expected {_SEED_BYTES + SUEID_BYTES}",
                hint="restore it from a backup, or remove it and enrol with the operator again",
            )
        key = Ed25519PrivateKey.from_private_bytes(data[:_SEED_BYTES])
        return cls(operator, data[_SEED_BYTES:], key.public_key().public_bytes_raw(), key)

    @property
    def kid(self) -> bytes:
        """The short name of the key."""
        return key_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 signature."""
        return self._key.sign(message)


def write_public(identity: Identity, path: Path) -> None:
    """The file by which a recipient knows this box: nothing secret in it."""
    write_public_file(path, "gateway", {"kid": identity.kid.hex(), "public_key": identity.public_key.hex()})


def read_public(path: Path) -> tuple[bytes, bytes]:
    """kid and public key of a box. Raises `SetupError` when the file is not that."""
    public_key = read_public_file(path, "gateway", {"public_key": 32})["public_key"]
    return key_id(public_key), public_key


def _new_secret() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes_raw() + _SUEID_RANDOM + os.urandom(SUEID_BYTES - 1)
