"""Certificates of erasure: signed by the box, kept beside its keys, and the reason why an old backup resurrects nobody.

    keys/erased/PATIENT.json

A certificate names the patient by her surrogate id, the data keys that were destroyed, and the head of the log at that
time. Its Ed25519 key is derived from the box key; whoever has noted the public key can check it without the box.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bedside.core.errors import SetupError, StoreError
from bedside.records.files import write_atomically
from bedside.records.keys import KeyRing

PURPOSE = "erasure certificates"
FOLDER = "erased"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Certificate:
    """That a patient's records were made unreadable on one box. Times are microseconds UTC."""

    v: int
    box: str
    patient: str
    erased_us: int
    actor: str
    reason: str
    entries: int  # whose content is gone; their places in the log stay
    keys: tuple[str, ...]  # ids of the data keys that were destroyed
    log_size: int  # of the log when it was decided
    log_root: str
    public_key: str = ""
    signature: str = ""

    def signed(self, keys: KeyRing) -> Certificate:
        """The same, signed by the box."""
        private = Ed25519PrivateKey.from_private_bytes(keys.derive_first(PURPOSE))
        open_ = {**asdict(self), "public_key": private.public_key().public_bytes_raw().hex()}
        content = Certificate(**{**open_, "keys": tuple(self.keys)})
        return Certificate(
            **{**asdict(content), "keys": content.keys, "signature": private.sign(content._signed_bytes()).hex()}
        )

    def _signed_bytes(self) -> bytes:
        content = {name: value for name, value in asdict(self).items() if name != "signature"}
        return b"bedside erasure certificate v1" + json.dumps(content, sort_keys=True).encode()

    def check(self, public_keys: Iterable[str] = ()) -> None:
        """Raises `StoreError` when it was not signed by its key, or that key is none of `public_keys` (if any)."""
        trusted = set(public_keys)
        if trusted and self.public_key not in trusted:
            raise StoreError("the certificate of erasure is of another box")
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public_key))
            public.verify(bytes.fromhex(self.signature), self._signed_bytes())
        except (ValueError, InvalidSignature) as error:
            raise StoreError("the certificate of erasure is altered") from error

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def certificate_from(text: str | bytes) -> Certificate:
    """From its JSON, not yet checked. Raises `StoreError`."""
    try:
        content = json.loads(text)
        content["keys"] = tuple(str(one) for one in content["keys"])
        certificate = Certificate(**content)
        if certificate.v != _FORMAT or not isinstance(certificate.patient, str):
            raise ValueError("format")
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("a certificate of erasure cannot be read") from error
    return certificate


def public_keys(keys: KeyRing) -> list[str]:
    """Of this box, now and before its key was changed: whoever is to check certificates notes the first."""
    return [
        Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()
        for seed in keys.derive_all(PURPOSE)
    ]


def keep_certificate(keys: KeyRing, certificate: Certificate) -> Path:
    """Put it beside the keys; durable on return."""
    path = keys.folder / FOLDER / f"{certificate.patient}.json"
    write_atomically(path, certificate.to_json().encode())
    return path


def certificates_in(folder: Path) -> list[Certificate]:
    """Those in a folder of certificates, not yet checked. Raises `StoreError` for one that cannot be read."""
    try:
        return [certificate_from(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror or error}") from error


def fingerprint(public_key: str) -> str:
    """Short enough to be read aloud."""
    return hashlib.sha256(bytes.fromhex(public_key)).hexdigest()[:16]


def checked_certificate(path: Path, keys: KeyRing) -> Certificate:
    """One file. Raises `SetupError` when there is none, `StoreError` when it is not of this box."""
    try:
        certificate = certificate_from(path.read_bytes())
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror or error}", hint="name a certificate") from error
    certificate.check(public_keys(keys))
    return certificate
