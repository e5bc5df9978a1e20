"""Who may say which models run: Ed25519 signatures over `manifest.json`, and the keys that are believed.

`manifest.sig` beside a manifest names the signer's public key and signs the manifest's bytes behind a fixed prefix,
so that a signature made for something else is never one for models. A manifest names its files by SHA-256: one
signature covers them all. Believed are the release keys below, which come with the code, and the keys of the setting
`signers`: a site that trains its own models signs them with a key of its own (`bedside models key`, `... sign`). The
private half of the release key is in no tree and no wheel. Whoever can change this file or the settings can change
what is believed; the signature protects model files on their way and at rest, not a box that is already lost.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bedside.core.errors import SetupError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX: Final = b"bedside model manifest 1\n"
ALGORITHM: Final = "Ed25519"
SIGNATURE_BYTES_MAX: Final = 4096
KEY_BYTES_MAX: Final = 4096
OWNER_ONLY: Final = 0o077
RELEASE_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "849490243739554202e378b3944e18e8b34cb0c85266cfa2cee268dd13d17d37": "development release key, 2026",
    }
)
"""Public keys, hex, that sign the models Bedside ships."""


def fingerprint(public: str) -> str:
    """Sixteen hex digits that name a public key (hex) for people: the beginning of its SHA-256."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:16]


def site_keys() -> tuple[str, ...]:
    """Public keys of the setting `signers`, hex. Raises `SetupError` when the settings cannot be read."""
    from bedside.settings import home_in_use, settings_from  # read only where the release key did not sign

    return settings_from(home_in_use()).signers


def signature_path(manifest: Path) -> Path:
    """Where the signature of `manifest` lies: `manifest.sig` beside it."""
    return manifest.with_suffix(".sig")


def checked(content: bytes, manifest: Path, more_keys: Callable[[], Collection[str]] | None = None) -> str:
    """The believed key (hex) that signed `content`, the bytes of `manifest`.

    `more_keys` gives keys beside the release keys (by default those of the settings). Raises `SetupError`: no
    signature, a damaged one, a signer that nobody here believes, or a signature of other bytes.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public, signature = _read(manifest)
    if public not in RELEASE_KEYS and public not in (more_keys or site_keys)():
        raise SetupError(
            f"model manifest {manifest}: signed by {fingerprint(public)}, a key that is not believed here",
            hint="have it signed by the release key, or put the signer's public key into the setting `signers`",
        )
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, PREFIX + content)
    except InvalidSignature as error:
        raise SetupError(
            f"model manifest {manifest}: its signature is of other bytes, so the manifest was changed after signing",
            hint="reinstall the models; after a training of your own: `bedside models sign FOLDER --key FILE`",
        ) from error
    return public


def _read(manifest: Path) -> tuple[str, bytes]:
    """Public key, hex, and signature of the file beside `manifest`."""
    path = signature_path(manifest)
    try:
        with path.open("rb") as file:
            facts = json.loads(file.read(SIGNATURE_BYTES_MAX))
        public, signature = bytes.fromhex(facts["key"]), bytes.fromhex(facts["signature"])
        if facts["algorithm"] != ALGORITHM or len(public) != 32 or len(signature) != 64:
            raise ValueError("another algorithm or length")
    except OSError as error:
        raise SetupError(
            f"model manifest {manifest}: not signed ({path.name}: {error.strerror or error})",
            hint="take the models of a release, or sign your own: `bedside models sign FOLDER --key FILE`",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"model signature {path}: damaged ({type(error).__name__})",
            hint="take the models of a release, or sign your own: `bedside models sign FOLDER --key FILE`",
        ) from error
    return public.hex(), signature


def sign(manifest: Path, key: Path) -> str:
    """Write the signature of `manifest` beside it with the private key in the file `key`; give the public key, hex.

    Raises `SetupError` when either file cannot be used.
    """
    private = _private(key)
    public = private.public_key().public_bytes_raw().hex()
    try:
        signature = private.sign(PREFIX + manifest.read_bytes())
        facts = {"algorithm": ALGORITHM, "key": public, "signature": signature.hex()}
        signature_path(manifest).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise SetupError(f"{manifest}: {error.strerror or error}", hint="name a folder with a manifest.json") from error
    return public


def new_key(path: Path) -> str:
    """Make a private key in a new file that only its owner may read (PKCS #8, PEM); give the public key, hex.

    Raises `SetupError` when the file is there already or cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except OSError as error:
        raise SetupError(
            f"{path}: {error.strerror or error}", hint="name a new file in a folder of your own"
        ) from error
    return private.public_key().public_bytes_raw().hex()


def _private(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    hint = "make one with `bedside models key FILE`"
    try:
        if path.stat().st_mode & OWNER_ONLY:
            raise SetupError(f"key {path}: others may read it", hint=f"chmod 600 {path}, and sign anew with a new key")
        with path.open("rb") as file:
            private = load_pem_private_key(file.read(KEY_BYTES_MAX), password=None)
    except OSError as error:
        raise SetupError(f"key {path}: {error.strerror or error}", hint=hint) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SetupError(f"key {path}: no private key", hint=hint) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise SetupError(f"key {path}: no Ed25519 key", hint=hint)
    return private
