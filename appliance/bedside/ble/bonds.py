"""The pairings and their bonds on disk, sealed; and sealed under a passphrase for the box that replaces this one.

    BSP1 | salt (16) | AES-256-GCM(HKDF(key, salt), nonce 0)            the box's own file
    BSPX | salt (16) | AES-256-GCM(Argon2id(passphrase, salt), nonce 0)  an export

Each sealing draws a new salt and with it a new key, so the nonce never meets a key twice. The box's key is given (it
lies with the other keys of the box); nothing here can make or find one. A bond is the secret that tells a patient's
wearable from its look-alike: it stands in no log, no error and no `repr`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bedside.ble.pairing import BondLevel, Identity, OwnedError, Pairing, Register
from bedside.core.errors import SetupError, StoreError

KEY_BYTES = 32
SALT_BYTES = 16
PAIRINGS_MAX = 1_000
FILE_BYTES_MAX = 4_000_000
PASSPHRASE_CHARS_MIN = 12
MEMORY_KIB = 65_536  # Argon2id, RFC 9106, second recommended option
_OWN, _EXPORT = b"BSP1", b"BSPX"
_NONCE = bytes(12)
_INFO = b"bedside pairings v1"


def seal(register: Register, key: bytes) -> bytes:
    """The register under the box's key."""
    salt = os.urandom(SALT_BYTES)
    return _OWN + salt + AESGCM(_subkey(key, salt)).encrypt(_NONCE, _plain(register.pairings), _OWN + salt)


def unseal(data: bytes, key: bytes) -> Register:
    """The reverse of `seal`. Raises `StoreError`."""
    salt = data[4 : 4 + SALT_BYTES]
    return Register().put(_opened(data, _OWN, lambda: _subkey(key, salt), StoreError("pairings: damaged, or another")))


def seal_export(pairings: Iterable[Pairing], passphrase: str, *, memory_kib: int = MEMORY_KIB) -> bytes:
    """Pairings for another box. Raises `SetupError` for a passphrase that is soon guessed."""
    if len(passphrase) < PASSPHRASE_CHARS_MIN:
        raise SetupError(
            f"passphrase of {len(passphrase)} characters", hint=f"use at least {PASSPHRASE_CHARS_MIN}: some words do"
        )
    salt = os.urandom(SALT_BYTES)
    head = _EXPORT + salt + memory_kib.to_bytes(4, "big")
    return head + AESGCM(_stretched(passphrase, salt, memory_kib)).encrypt(_NONCE, _plain(pairings), head)


def unseal_export(data: bytes, passphrase: str) -> tuple[Pairing, ...]:
    """The reverse of `seal_export`; none of them is proven here yet. Raises `SetupError`."""
    wrong = SetupError(
        "this file of pairings does not open", hint="check the passphrase, and that the file is whole: nothing changed"
    )
    salt, memory_kib = data[4 : 4 + SALT_BYTES], int.from_bytes(data[20:24], "big")
    if not 8 * 4 <= memory_kib <= 4 * 1024 * 1024:
        raise wrong
    head = 4 + SALT_BYTES + 4
    pairings = _opened(data, _EXPORT, lambda: _stretched(passphrase, salt, memory_kib), wrong, head)
    return tuple(_unproven(one) for one in pairings)


def _unproven(pairing: Pairing) -> Pairing:
    values = {name: getattr(pairing, name) for name in pairing.__slots__}
    return Pairing(**{**values, "proven": False})


def _subkey(key: bytes, salt: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"key: expected {KEY_BYTES} bytes, got {len(key)}")
    return HKDF(SHA256(), KEY_BYTES, salt=salt, info=_INFO).derive(key)


def _stretched(passphrase: str, salt: bytes, memory_kib: int) -> bytes:
    return Argon2id(salt=salt, length=KEY_BYTES, iterations=3, lanes=4, memory_cost=memory_kib).derive(
        passphrase.encode()
    )


def _plain(pairings: Iterable[Pairing]) -> bytes:
    return json.dumps([asdict(one) for one in pairings], separators=(",", ":")).encode()


def _opened(
    data: bytes, mark: bytes, key: Callable[[], bytes], wrong: Exception, head_bytes: int = 4 + SALT_BYTES
) -> list[Pairing]:
    if len(data) > FILE_BYTES_MAX or len(data) <= head_bytes or not data.startswith(mark):
        raise wrong
    try:
        plain = AESGCM(key()).decrypt(_NONCE, data[head_bytes:], data[:head_bytes])
        return [_pairing(one) for one in json.loads(plain)][:PAIRINGS_MAX]
    except (InvalidTag, ValueError, KeyError, TypeError) as error:
        raise wrong from error


def _pairing(values: dict[str, Any]) -> Pairing:
    known = {name: values[name] for name in Pairing.__slots__ if name in values}
    return Pairing(**{**known, "identity": Identity(**values["identity"]), "level": BondLevel(values["level"])})


class BondStore:
    """The register in a file that is replaced whole. Its methods block: call them where blocking work runs."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Raises `StoreError` when the file is there and cannot be read: pairings are not silently forgotten."""
        self._path = path
        self._key = key
        try:
            content = path.read_bytes() if path.exists() else None
        except OSError as error:
            raise StoreError(f"{path.name}: {error.strerror or error}") from error
        self._register = unseal(content, key) if content is not None else Register()

    @property
    def register(self) -> Register:
        return self._register

    def put(self, register: Register) -> None:
        """Durable on return, whole or not at all. Raises `StoreError`."""
        if len(register.pairings) > PAIRINGS_MAX:
            raise StoreError(f"more than {PAIRINGS_MAX} pairings")
        fresh = self._path.with_name(f".{self._path.name}.new")
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(seal(register, self._key))
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise StoreError(f"{self._path.name}: cannot be written: {error.strerror or error}") from error
        self._register = register


__all__ = ["BondStore", "OwnedError", "seal", "seal_export", "unseal", "unseal_export"]
