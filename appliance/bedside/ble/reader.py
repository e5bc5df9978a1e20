"""Little-endian bytes, read field by field; a packet that ends inside a field is an error that names the field.

Fed by the decoders of this package; no clock, file, socket or asyncio.
"""

from __future__ import annotations

from typing import NoReturn

from bedside.ble import ieee11073
from bedside.core.errors import DecodeError


class Reader:
    """Takes fields from the front of `payload`. Every method raises `DecodeError`, and nothing else."""

    __slots__ = ("_at", "_payload", "characteristic")

    def __init__(self, characteristic: str, payload: bytes) -> None:
        self.characteristic = characteristic
        self._payload = bytes(payload)
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self._payload) - self._at

    def raw(self, field: str, size: int) -> bytes:
        """The next `size` bytes."""
        if self.left < size:
            self.refuse(field, f"needs {size} byte{'s' if size != 1 else ''}, {self.left} left")
        start, self._at = self._at, self._at + size
        return self._payload[start : self._at]

    def rest(self) -> bytes:
        """All bytes that are left, none is well too."""
        return self.raw("rest", self.left)

    def unsigned(self, field: str, size: int) -> int:
        return int.from_bytes(self.raw(field, size), "little")

    def signed(self, field: str, size: int) -> int:
        return int.from_bytes(self.raw(field, size), "little", signed=True)

    def u8(self, field: str) -> int:
        return self.unsigned(field, 1)

    def u16(self, field: str) -> int:
        return self.unsigned(field, 2)

    def u24(self, field: str) -> int:
        return self.unsigned(field, 3)

    def u32(self, field: str) -> int:
        return self.unsigned(field, 4)

    def u64(self, field: str) -> int:
        return self.unsigned(field, 8)

    def i8(self, field: str) -> int:
        return self.signed(field, 1)

    def i16(self, field: str) -> int:
        return self.signed(field, 2)

    def sfloat(self, field: str) -> ieee11073.Number:
        """An IEEE 11073 16-bit float: an exact decimal or a special value."""
        return ieee11073.decode_sfloat(self.u16(field))

    def float32(self, field: str) -> ieee11073.Number:
        """An IEEE 11073 32-bit float: an exact decimal or a special value."""
        return ieee11073.decode_float(self.u32(field))

    def end(self) -> None:
        """Refuse bytes after the last field: then flags or length are wrong, and nothing in the packet is sure."""
        if self.left:
            self.refuse("end", f"{self.left} byte{'s' if self.left != 1 else ''} after the last field")

    def only(self, field: str, flags: int, known: int) -> int:
        """Refuse flags whose reserved bits are set.

        A flag says which fields follow; one that we do not know may announce a field that moves all others.
        """
        if unknown := flags & ~known:
            self.refuse(field, f"reserved bits 0x{unknown:X} are set")
        return flags

    def refuse(self, field: str, reason: str) -> NoReturn:
        """Raise the `DecodeError` of this packet."""
        raise DecodeError(self.characteristic, field, reason)
