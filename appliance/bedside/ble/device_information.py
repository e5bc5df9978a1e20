"""Device Information Service 1.1: the strings by which a wearable names itself. Pure."""

from __future__ import annotations

from bedside.core.errors import DecodeError

SERVICE = "0000180a-0000-1000-8000-00805f9b34fb"
MANUFACTURER = "00002a29-0000-1000-8000-00805f9b34fb"
MODEL = "00002a24-0000-1000-8000-00805f9b34fb"
SERIAL = "00002a25-0000-1000-8000-00805f9b34fb"
FIRMWARE = "00002a26-0000-1000-8000-00805f9b34fb"


def decode_text(payload: bytes, *, characteristic: str) -> str:
    """A UTF-8 string; padding of NULs at the end (seen on straps) is dropped. Raises `DecodeError`."""
    try:
        text = bytes(payload).rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(characteristic, "text", "is not UTF-8") from error
    if not text.isprintable():
        raise DecodeError(characteristic, "text", "holds control characters")
    return text
