"""IEEE 11073-20601 decimal floats, SFLOAT (16 bits) and FLOAT (32 bits), exactly.

Both are mantissa * 10**exponent with two's complement mantissa and exponent: 12 and 4 bits in SFLOAT, 24 and
8 in FLOAT. Five codes with exponent 0 are no numbers (20601, annex F.6). Pure; no clock, file, socket or asyncio.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias


class Special(StrEnum):
    """A code that stands for no number."""

    NAN = "NaN"  # not a number: no valid result
    NRES = "NRes"  # not at this resolution: the result does not fit
    PLUS_INFINITY = "+INF"
    MINUS_INFINITY = "-INF"
    RESERVED = "RFU"


Number: TypeAlias = Decimal | Special

_SFLOAT_SPECIAL = {
    0x07FF: Special.NAN,
    0x0800: Special.NRES,
    0x07FE: Special.PLUS_INFINITY,
    0x0802: Special.MINUS_INFINITY,
    0x0801: Special.RESERVED,
}
_FLOAT_SPECIAL = {
    0x007FFFFF: Special.NAN,
    0x00800000: Special.NRES,
    0x007FFFFE: Special.PLUS_INFINITY,
    0x00800002: Special.MINUS_INFINITY,
    0x00800001: Special.RESERVED,
}
_SFLOAT_CODE = {special: code for code, special in _SFLOAT_SPECIAL.items()}
_FLOAT_CODE = {special: code for code, special in _FLOAT_SPECIAL.items()}


def decode_sfloat(code: int) -> Number:
    """The value of a 16-bit code, 0 to 0xFFFF."""
    special = _SFLOAT_SPECIAL.get(code)
    return special if special is not None else _decimal(_signed(code & 0xFFF, 12), _signed(code >> 12, 4))


def decode_float(code: int) -> Number:
    """The value of a 32-bit code, 0 to 0xFFFFFFFF."""
    special = _FLOAT_SPECIAL.get(code)
    return special if special is not None else _decimal(_signed(code & 0xFFFFFF, 24), _signed(code >> 24, 8))


def encode_sfloat(value: Number) -> int:
    """The 16-bit code of `value`. Raises `ValueError` when none says exactly this."""
    if isinstance(value, Special):
        return _SFLOAT_CODE[value]
    return _encode(value, mantissa_bits=12, exponent_bits=4, special=_SFLOAT_SPECIAL)


def encode_float(value: Number) -> int:
    """The 32-bit code of `value`. Raises `ValueError` when none says exactly this."""
    if isinstance(value, Special):
        return _FLOAT_CODE[value]
    return _encode(value, mantissa_bits=24, exponent_bits=8, special=_FLOAT_SPECIAL)


def _signed(bits: int, width: int) -> int:
    return bits - (1 << width) if bits >> (width - 1) else bits


def _decimal(mantissa: int, exponent: int) -> Decimal:
    return Decimal((int(mantissa < 0), tuple(int(digit) for digit in str(abs(mantissa))), exponent))


def _encode(value: Decimal, *, mantissa_bits: int, exponent_bits: int, special: dict[int, Special]) -> int:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{value}: use Special for what is no number")
    mantissa = int("".join(map(str, digits)) or "0") * (-1 if sign else 1)
    while mantissa and mantissa % 10 == 0:
        mantissa, exponent = mantissa // 10, exponent + 1
    if mantissa == 0:
        exponent = 0
    whole = [(mantissa * 10**exponent, 0)] if 0 <= exponent < 8 else []  # 100 rather than 1e2, as devices send it
    mantissa_max = (1 << (mantissa_bits - 1)) - 1
    exponent_max = (1 << (exponent_bits - 1)) - 1
    for m, e in whole + [(mantissa * 10**i, exponent - i) for i in range(8)]:
        code = (int(e) & (2 * exponent_max + 1)) << mantissa_bits | int(m) & (2 * mantissa_max + 1)
        fits = -mantissa_max - 1 <= m <= mantissa_max and -exponent_max - 1 <= e <= exponent_max
        if fits and code not in special:
            return code
    raise ValueError(f"{value}: no code says exactly this in {mantissa_bits} bits of mantissa")
