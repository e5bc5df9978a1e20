"""Recovery codes: a secret split so that any `threshold` of `shares` codes give it back, and fewer tell nothing.

Shamir 1979, doi:10.1145/359168.359176, over GF(256) with the polynomial of AES (0x11b), each byte by itself. It is
forty lines and tested by properties; the libraries that offer it bring a mnemonic format and passphrases of
their own. A code is Crockford's base32 in groups of five: no letter that is taken for a digit. What the secret opens is
sealed to a public key that is derived from it, so that a new box key needs no new codes.

    code: set (2) | threshold (1) | place (1) | share (32) | check (4, SHA-256)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bedside.core.errors import SetupError
from bedside.core.sealing import OpeningKey

SECRET_BYTES = 32
SHARES_MAX = 16
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SIGNS = {"O": "0", "I": "1", "L": "1"}
_CODE_BYTES = 4 + SECRET_BYTES + 4
_CODE_LETTERS = -(-_CODE_BYTES * 8 // 5)
_GROUP = 5


def split(secret: bytes, threshold: int, shares: int) -> list[bytes]:
    """Shares of the secret, in the order of their places 1 to `shares`. Raises `ValueError`."""
    if not 2 <= threshold <= shares <= SHARES_MAX:
        raise ValueError(f"{threshold} of {shares}: expected 2 <= threshold <= shares <= {SHARES_MAX}")
    coefficients = [secret, *(os.urandom(len(secret)) for _ in range(threshold - 1))]
    return [
        bytes(_at(place, [one[at] for one in coefficients]) for at in range(len(secret)))
        for place in range(1, shares + 1)
    ]


def join(shares: Iterable[tuple[int, bytes]]) -> bytes:
    """The secret, from places and shares; of too few or wrong ones, other bytes. Raises `ValueError`."""
    known = dict(shares)
    if not known or 0 in known or len({len(one) for one in known.values()}) != 1:
        raise ValueError("shares of one length at places from 1 on are needed")
    weights = {place: _weight(place, known) for place in known}
    length = len(next(iter(known.values())))
    secret = bytearray(length)
    for place, share in known.items():
        for at in range(length):
            secret[at] ^= _times(share[at], weights[place])
    return bytes(secret)


def new_codes(threshold: int, shares: int) -> tuple[list[str], OpeningKey]:
    """Codes to be kept in different places, and the key that they give back together."""
    secret, name = os.urandom(SECRET_BYTES), os.urandom(2)
    made = split(secret, threshold, shares)
    return [_code(name, threshold, place, share) for place, share in enumerate(made, 1)], _key(secret)


def key_from(codes: Sequence[str]) -> OpeningKey:
    """The key that the codes were made with. Raises `SetupError` that names the code to look at again."""
    parts = [_parts(code, number) for number, code in enumerate(codes, 1)]
    if len({part[:2] for part in parts}) != 1:
        raise SetupError("these codes do not belong together", hint="take codes that were printed at one time")
    threshold, places = parts[0][1], {part[2]: part[3] for part in parts}
    if len(places) < threshold:
        raise SetupError(
            f"{len(places)} different codes were given, {threshold} are needed", hint="ask who keeps another one"
        )
    return _key(join(places.items()))


def _key(secret: bytes) -> OpeningKey:
    raw = HKDF(SHA256(), 96, salt=None, info=b"bedside recovery key v1").derive(secret)
    return OpeningKey.of(raw)


def _code(name: bytes, threshold: int, place: int, share: bytes) -> str:
    body = name + bytes([threshold, place]) + share
    number = int.from_bytes(body + hashlib.sha256(body).digest()[:4], "big")
    letters = "".join(_ALPHABET[number >> 5 * at & 31] for at in reversed(range(_CODE_LETTERS)))
    return "-".join(letters[at : at + _GROUP] for at in range(0, _CODE_LETTERS, _GROUP))


def _parts(code: str, number: int) -> tuple[bytes, int, int, bytes]:
    letters = "".join(_SIGNS.get(letter, letter) for letter in code.upper() if letter not in "- \t\n")
    wrong = SetupError(f"code {number} is mistyped", hint="look at it again: each has its own check")
    if len(letters) != _CODE_LETTERS or any(letter not in _ALPHABET for letter in letters):
        raise wrong
    value = 0
    for letter in letters:
        value = value << 5 | _ALPHABET.index(letter)
    if value >> 8 * _CODE_BYTES:
        raise wrong
    data = value.to_bytes(_CODE_BYTES, "big")
    body, check = data[:-4], data[-4:]
    if hashlib.sha256(body).digest()[:4] != check or not body[3]:
        raise wrong
    return body[:2], body[2], body[3], body[4:]


@cache
def _tables() -> tuple[list[int], list[int]]:
    """Powers of the generator 3, and their logarithms."""
    powers, logs, value = [0] * 255, [0] * 256, 1
    for exponent in range(255):
        powers[exponent], logs[value] = value, exponent
        value ^= value << 1
        if value & 0x100:
            value ^= 0x11B
    return powers, logs


def _times(a: int, b: int) -> int:
    if not a or not b:
        return 0
    powers, logs = _tables()
    return powers[(logs[a] + logs[b]) % 255]


def _over(a: int, b: int) -> int:
    powers, logs = _tables()
    return powers[(logs[a] - logs[b]) % 255] if a else 0


def _at(place: int, coefficients: Sequence[int]) -> int:
    value = 0
    for one in reversed(coefficients):
        value = _times(value, place) ^ one
    return value


def _weight(place: int, places: Iterable[int]) -> int:
    """Lagrange's, at 0."""
    weight = 1
    for other in places:
        if other != place:
            weight = _times(weight, _over(other, other ^ place))
    return weight
