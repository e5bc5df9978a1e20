"""The six characters on a wearable's label. Pure.

    K7Q2MD = five characters (25 bits) of HMAC-SHA256(the site's label key, address), and one that checks them

A label tells a stranger nothing: neither address nor patient can be worked out of it without the site's key, and it
stays true when the wearable goes to another patient. No table is kept: whoever hears a wearable works its label out.
The letters are Crockford's base 32, without those that are taken for another (I, L, O, U). The check is a sum over
GF(32) with another power of x for each place: it finds every single mistyped character and every swap of two.
"""

from __future__ import annotations

import hashlib
import hmac

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 6
_POLYNOMIAL = 0b100101  # x^5 + x^2 + 1, primitive: the powers of x up to the 30th differ
_TAKEN_FOR = str.maketrans({"O": "0", "I": "1", "L": "1"})


def label_of(key: bytes, address: str) -> str:
    """The label of the wearable with this address."""
    digest = hmac.new(key, b"bedside label v1 " + address.upper().encode(), hashlib.sha256).digest()
    number = int.from_bytes(digest[:4], "big") >> 7
    text = "".join(LETTERS[number >> 5 * place & 31] for place in range(LENGTH - 1))
    return text + _check(text)


def read_label(typed: str) -> str:
    """A label as somebody typed it, or as a QR code gave it. Raises `ValueError` where it cannot be one."""
    text = typed.strip().upper().rpartition("#")[2].removeprefix("BEDSIDE:")
    text = "".join(c for c in text if c not in " -·").translate(_TAKEN_FOR)
    if len(text) != LENGTH or any(c not in LETTERS for c in text):
        raise ValueError(f"label: expected {LENGTH} letters and digits, got {len(text)}")
    if _check(text[:-1]) != text[-1]:
        raise ValueError("label: a character is mistyped")
    return text


def spaced(label: str) -> str:
    """As it is printed: K7Q 2MD."""
    return f"{label[:3]} {label[3:]}"


def _check(text: str) -> str:
    total = 0
    for letter in text:
        total = _times_x(total ^ LETTERS.index(letter))
    return LETTERS[total]


def _times_x(value: int) -> int:
    doubled = value << 1
    return doubled ^ _POLYNOMIAL if doubled & 0b100000 else doubled
