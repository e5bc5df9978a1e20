"""Sealing of rows: AES-256-GCM whose nonces cannot repeat, not even when a store is copied and both copies run.

Each opening of a store draws, for each data key, a random 128-bit salt; HKDF-SHA256 of data key and
salt gives the subkey that really encrypts, and under it a counter is the nonce. Two copies of one
store draw different salts, so their counters count under different keys. (NIST SP 800-38D, 8.2.1:
deterministic nonces; RFC 5869.) A running machine that is snapshot in memory and resumed twice is
outside this promise.

    sealed = version (1) | salt (16) | counter (4, big-endian) | ciphertext | tag (16)

What a row is and where it stands is bound as associated data, so that it opens nowhere else.
Pure: bytes in, bytes out.
"""

from __future__ import annotations

import os
from collections import OrderedDict

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bedside.core.errors import StoreError

KEY_BYTES = 32
SALT_BYTES = 16
TAG_BYTES = 16
_VERSION = b"\x01"
_COUNTER_BYTES = 4
_COUNTER_END = 1 << 8 * _COUNTER_BYTES
HEADER_BYTES = 1 + SALT_BYTES + _COUNTER_BYTES
_NONCE_PAD = bytes(12 - _COUNTER_BYTES)
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
_INFO = b"bedside records row v1"
_SUBKEYS_MAX = 256  # openings of one store that a range read may cross before subkeys are derived again


def _subkey(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt=salt, info=_INFO).derive(key))


class Sealer:
    """Seals under one data key, in one process, for as long as the store is open."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._pid = os.getpid()
        self._renew()

    def _renew(self) -> None:
        self._salt = os.urandom(SALT_BYTES)
        self._aead = _subkey(self._key, self._salt)
        self._counter = 0

    def seal(self, plaintext: bytes, binding: bytes) -> bytes:
        """`plaintext` sealed to `binding`, `OVERHEAD_BYTES` longer. Spends a counter even if it is never stored."""
        if self._counter >= _COUNTER_END or os.getpid() != self._pid:  # a forked process counts under its own salt
            self._pid = os.getpid()
            self._renew()
        counter = self._counter.to_bytes(_COUNTER_BYTES, "big")
        self._counter += 1
        header = _VERSION + self._salt + counter
        return header + self._aead.encrypt(_NONCE_PAD + counter, plaintext, header + binding)


class Opener:
    """Opens what any `Sealer` of one data key has sealed."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._subkeys: OrderedDict[bytes, AESGCM] = OrderedDict()

    def open(self, sealed: bytes, binding: bytes) -> bytes:
        """The plaintext. Raises `StoreError` when the bytes are altered, cut, or sealed to another place."""
        header, body = sealed[:HEADER_BYTES], sealed[HEADER_BYTES:]
        if len(body) < TAG_BYTES or header[:1] != _VERSION:
            raise StoreError(f"sealed row of {len(sealed)} bytes has no header that this version knows")
        aead = self._aead(header[1 : 1 + SALT_BYTES])
        try:
            return aead.decrypt(_NONCE_PAD + header[1 + SALT_BYTES :], body, header + binding)
        except InvalidTag as error:
            raise StoreError("a row is altered, or stands where it was not written") from error

    def sealed_again(self, header: bytes, plaintext: bytes, binding: bytes) -> bytes:
        """The bytes that a `Sealer` made of this plaintext under this header: to be hashed, never to be stored.

        The same plaintext and binding under the same nonce give the same bytes, so nothing new is told.
        """
        aead = self._aead(header[1 : 1 + SALT_BYTES])
        return header + aead.encrypt(_NONCE_PAD + header[1 + SALT_BYTES :], plaintext, header + binding)

    def _aead(self, salt: bytes) -> AESGCM:
        known = self._subkeys.get(salt)
        if known is not None:
            self._subkeys.move_to_end(salt)
            return known
        aead = self._subkeys[salt] = _subkey(self._key, salt)
        if len(self._subkeys) > _SUBKEYS_MAX:
            self._subkeys.popitem(last=False)
        return aead
