"""How the box key is kept in `keys/box.key`: sealed by the TPM, by a passphrase, or by the file's mode alone.

Whatever the protection, a second seal may stand beside it: to the public key of split recovery codes. Pure but for the
TPM: a file's content in, the key out, and back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from bedside.core.errors import SetupError
from bedside.core.sealing import SealError, SealingKey
from bedside.records import recovery, tpm

KEY_BYTES = 32
FORMAT = 1
FORMAT_MAX = 2  # with a TPM or recovery codes
_NONCE_BYTES = 12
_MEMORY_KIB_MAX = 4 * 1024 * 1024
_RECOVERY_INFO = b"bedside box key for recovery v1 "


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What a guess of the passphrase costs. The default is RFC 9106's second recommended option (64 MiB)."""

    iterations: int = 3
    lanes: int = 4
    memory_kib: int = 65536


class Protection(Protocol):
    """Seals box keys; it is kept while the box runs, so that a new box key needs no person."""

    @property
    def closed(self) -> bool:
        """Whether the file alone gives nothing."""
        ...

    def seal(self, box_id: str, key: bytes) -> dict[str, Any]:
        """The file's content."""
        ...

    def describe(self) -> str:
        """One honest sentence on who can read the records."""
        ...


@dataclass(frozen=True, slots=True)
class ByFileMode:
    """As it is, in a file for this user alone."""

    place: str
    closed: bool = False

    def seal(self, box_id: str, key: bytes) -> dict[str, Any]:
        return {"v": FORMAT, "id": box_id, "protection": "file mode only", "key": key.hex()}

    def describe(self) -> str:
        return (
            f"records are encrypted; the key lies in {self.place}, readable by this user alone: "
            "whoever steals the disk with that file can read them. Set a passphrase to prevent it"
        )


@dataclass(frozen=True, slots=True)
class ByPassphrase:
    """Under Argon2id (RFC 9106) of a passphrase: what it gave is kept, the passphrase is not."""

    kdf: dict[str, Any]
    stretched: bytes = field(repr=False)
    closed: bool = True

    @classmethod
    def of(cls, passphrase: str, cost: Argon2Cost | None) -> ByPassphrase:
        """A new salt."""
        kdf = {"name": "argon2id", "salt": os.urandom(16).hex(), **asdict(cost or Argon2Cost())}
        return cls(kdf, _stretched(passphrase, kdf))

    def seal(self, box_id: str, key: bytes) -> dict[str, Any]:
        content = {"v": FORMAT, "id": box_id, "protection": "passphrase", "kdf": self.kdf}
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self.stretched).encrypt(nonce, key, _binding(content))
        return {**content, "sealed": (nonce + sealed).hex()}

    def describe(self) -> str:
        return "records are encrypted; the key is sealed by a passphrase (Argon2id)"


@dataclass(frozen=True, slots=True)
class ByTpm:
    """By the machine's TPM 2.0, to the state that it booted into."""

    pcrs: str = tpm.PCRS
    closed: bool = True

    def seal(self, box_id: str, key: bytes) -> dict[str, Any]:
        return {"v": FORMAT_MAX, "id": box_id, "protection": "tpm", "tpm": tpm.seal(key, self.pcrs)}

    def describe(self) -> str:
        return f"records are encrypted; the key is sealed by this machine's TPM to its boot state ({self.pcrs})"


def opened(content: dict[str, Any], path: str, passphrase: str | None, no_passphrase_hint: str) -> tuple[bytes, Any]:
    """The box key, and the protection that it had. Raises `SetupError`, and `ValueError` and such for damage."""
    kind = content["protection"]
    if kind == "tpm":
        return tpm.unseal(content["tpm"]), ByTpm(str(content["tpm"]["pcrs"]))
    if kind != "passphrase":
        return bytes.fromhex(content["key"]), ByFileMode(path)
    if passphrase is None:
        raise SetupError(f"{path} is protected by a passphrase, and none was given", hint=no_passphrase_hint)
    stretched = _stretched(passphrase, content["kdf"])
    sealed = bytes.fromhex(content["sealed"])
    try:
        key = AESGCM(stretched).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _binding(content))
    except InvalidTag as error:
        raise SetupError(
            f"the passphrase does not open {path}: it is wrong, or the file was altered",
            hint="try the passphrase again, with its spaces and capitals; nothing was changed",
        ) from error
    return key, ByPassphrase(content["kdf"], stretched)


def with_recovery(content: dict[str, Any], slot: dict[str, Any] | None, key: bytes) -> dict[str, Any]:
    """The content with the box key sealed to the recovery codes, too. `slot`: as it stood there before."""
    if slot is None:
        return content
    public = SealingKey.of(bytes.fromhex(slot["public"]))
    sealed = public.seal(key, _RECOVERY_INFO + str(content["id"]).encode())
    return {**content, "v": FORMAT_MAX, "recovery": {**slot, "sealed": sealed.hex()}}


def new_recovery(threshold: int, shares: int) -> tuple[list[str], dict[str, Any]]:
    """Codes to give to people, and the slot for the file. Raises `ValueError`."""
    codes, key = recovery.new_codes(threshold, shares)
    return codes, {"threshold": threshold, "shares": shares, "public": key.public.raw.hex()}


def recovered(content: dict[str, Any], codes: Sequence[str]) -> bytes:
    """The box key, by codes. Raises `SetupError`."""
    slot = content.get("recovery")
    if slot is None:
        raise SetupError("this box has no recovery codes", hint="they had to be made before: `bedside records codes`")
    try:
        sealed = bytes.fromhex(slot["sealed"])
        return recovery.key_from(codes).open(sealed, _RECOVERY_INFO + str(content["id"]).encode())
    except SealError as error:
        raise SetupError(
            "the codes are whole, but not of this box or not its newest", hint="take the newest printed codes"
        ) from error


def _binding(content: dict[str, Any]) -> bytes:
    bound = {name: content[name] for name in ("id", "protection", "kdf")}
    return json.dumps({"v": FORMAT, **bound}, sort_keys=True).encode()


def _stretched(passphrase: str, kdf: dict[str, Any]) -> bytes:
    if not 8 <= int(kdf["memory_kib"]) <= _MEMORY_KIB_MAX or kdf["name"] != "argon2id":
        raise ValueError("parameters of the key derivation")
    return Argon2id(
        salt=bytes.fromhex(kdf["salt"]),
        length=KEY_BYTES,
        iterations=int(kdf["iterations"]),
        lanes=int(kdf["lanes"]),
        memory_cost=int(kdf["memory_kib"]),
    ).derive(passphrase.encode())
