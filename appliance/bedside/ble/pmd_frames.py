"""Polar PMD data frames of every kind that `bedside decode` prints, compressed ones too, both directions.

A compressed frame is a reference row and groups of differences: width in bits, number of rows, then the differences
of all channels row by row, least significant bit first, each group filled up to a byte. The live path reads ECG
through `pmd.decode_ecg_frame` alone. Source: Polar BLE SDK documentation. Pure.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass

from bedside.ble import pmd
from bedside.ble.pmd import Kind
from bedside.ble.reader import Reader
from bedside.core.errors import DecodeError

COMPRESSED = 0x80
Row = tuple[int, ...]

_NAMES = {
    Kind.ECG: "ecg",
    Kind.PPG: "ppg",
    Kind.ACC: "acc",
    Kind.PPI: "ppi",
    Kind.GYRO: "gyro",
    Kind.MAGNETOMETER: "magnetometer",
    Kind.SKIN_TEMPERATURE: "skin_temperature",
}
_RAW_ROWS = {  # (kind, frame type) of uncompressed rows: channels, bytes of each
    (Kind.ACC, 0): (3, 1),
    (Kind.ACC, 1): (3, 2),
    (Kind.ACC, 2): (3, 3),
    (Kind.PPG, 0): (4, 3),
}
_DELTA_ROWS = {  # (kind, frame type) of compressed rows: channels, bits of the reference
    (Kind.ACC, 0): (3, 16),
    (Kind.ACC, 1): (3, 16),
    (Kind.PPG, 0): (4, 24),
    (Kind.PPG, 7): (17, 24),
    (Kind.PPG, 8): (25, 24),
    (Kind.PPG, 10): (21, 24),
    (Kind.GYRO, 0): (3, 16),
    (Kind.MAGNETOMETER, 0): (3, 16),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PpSample:
    """One pulse-to-pulse interval. `blocker`: it must not be used; `contact` None: the sensor cannot tell."""

    hr: int
    pp_ms: int
    error_ms: int
    blocker: bool
    contact: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A data frame. One of the lists is there, by kind; `raw` rows are before any factor of the stream's settings."""

    kind: str
    timestamp_ns_2000: int
    compressed: bool
    frame_type: int
    uv: tuple[int, ...] | None = None
    mg: tuple[Row, ...] | None = None
    raw: tuple[Row, ...] | None = None
    samples: tuple[PpSample, ...] | None = None
    celsius: tuple[float, ...] | None = None


def decode_frame(payload: bytes) -> Frame:
    """Decode a PMD data frame. Raises `DecodeError`, and nothing else.

    Refused: kinds and frame types whose layout is not known, compressed ECG and PPI (there is none), frames without
    a sample or with half a one, and temperatures that are no number.
    """
    reader = Reader("Polar PMD data", payload)
    code = reader.u8("measurement type")
    kind = next((known for known in _NAMES if known == code), None)
    if kind is None:
        reader.refuse("measurement type", f"{code}: not known")
    timestamp, type_byte = reader.u64("timestamp"), reader.u8("frame type")
    compressed, frame_type = bool(type_byte & COMPRESSED), type_byte & ~COMPRESSED

    def frame(
        *,
        uv: tuple[int, ...] | None = None,
        mg: tuple[Row, ...] | None = None,
        raw: tuple[Row, ...] | None = None,
        samples: tuple[PpSample, ...] | None = None,
        celsius: tuple[float, ...] | None = None,
    ) -> Frame:
        return Frame(
            kind=_NAMES[kind],
            timestamp_ns_2000=timestamp,
            compressed=compressed,
            frame_type=frame_type,
            uv=uv,
            mg=mg,
            raw=raw,
            samples=samples,
            celsius=celsius,
        )

    if compressed and (layout := _DELTA_ROWS.get((kind, frame_type))) is not None:
        return frame(raw=_delta_rows(reader, *layout))
    if not compressed and (layout := _RAW_ROWS.get((kind, frame_type))) is not None:
        rows = _rows(reader, *layout)
        return frame(mg=rows) if kind is Kind.ACC else frame(raw=rows)
    if frame_type == 0 and kind is Kind.SKIN_TEMPERATURE:
        codes = _delta_rows(reader, 1, 32) if compressed else _rows(reader, 1, 4)
        return frame(celsius=tuple(_float32(reader, row[0]) for row in codes))
    if frame_type == 0 and not compressed and kind is Kind.ECG:
        return frame(uv=tuple(pmd.read_i24(reader, "ECG sample").tolist()))
    if frame_type == 0 and not compressed and kind is Kind.PPI:
        return frame(samples=_pp_samples(reader))
    what = "compressed " if compressed else ""
    raise DecodeError(reader.characteristic, "frame type", f"0x{type_byte:02X}: {what}{_NAMES[kind]} has no such type")


def _rows(reader: Reader, channels: int, size: int) -> tuple[Row, ...]:
    rows = [tuple(reader.signed("sample", size) for _ in range(channels))]
    while reader.left:
        rows.append(tuple(reader.signed("sample", size) for _ in range(channels)))
    return tuple(rows)


def _delta_rows(reader: Reader, channels: int, bits: int) -> tuple[Row, ...]:
    row = tuple(reader.signed("reference sample", bits // 8) for _ in range(channels))
    rows = [row]
    while reader.left:
        width, count = reader.u8("delta size"), reader.u8("sample count")
        if width > 32:
            reader.refuse("delta size", f"{width} bits: at most 32")
        packed = int.from_bytes(reader.raw("differences", math.ceil(width * count * channels / 8)), "little")
        for _ in range(count):
            following = []
            for value in row:
                delta = packed & ((1 << width) - 1)
                packed >>= width
                following.append(value + (delta - (1 << width) if width and delta >> (width - 1) else delta))
            row = tuple(following)
            rows.append(row)
    return tuple(rows)


def _float32(reader: Reader, code: int) -> float:
    (value,) = struct.unpack("<f", (code & 0xFFFFFFFF).to_bytes(4, "little"))
    if not math.isfinite(value):
        reader.refuse("temperature", "is no number")
    return float(value)


def _pp_samples(reader: Reader) -> tuple[PpSample, ...]:
    samples: list[PpSample] = []
    while reader.left or not samples:
        hr, pp_ms, error_ms = reader.u8("heart rate"), reader.u16("PP interval"), reader.u16("PP error")
        flags = reader.u8("flags")  # reserved bits say nothing of the others
        contact = bool(flags & 0x02) if flags & 0x04 else None
        samples.append(PpSample(hr=hr, pp_ms=pp_ms, error_ms=error_ms, blocker=bool(flags & 0x01), contact=contact))
    return tuple(samples)


def encode_raw_frame(kind: Kind, timestamp_ns_2000: int, frame_type: int, rows: tuple[Row, ...]) -> bytes:
    """An uncompressed frame of rows. Raises `KeyError` for a type that has none, `OverflowError` for a value."""
    _, size = _RAW_ROWS[(kind, frame_type)]
    body = b"".join(value.to_bytes(size, "little", signed=True) for row in rows for value in row)
    return struct.pack("<BQB", kind, timestamp_ns_2000, frame_type) + body


def encode_delta_frame(
    kind: Kind, timestamp_ns_2000: int, frame_type: int, rows: tuple[Row, ...], group_rows: int = 255
) -> bytes:
    """A compressed frame in groups of at most `group_rows` rows. Raises as `encode_raw_frame`."""
    channels, bits = _DELTA_ROWS[(kind, frame_type)]
    packet = struct.pack("<BQB", kind, timestamp_ns_2000, frame_type | COMPRESSED)
    packet += b"".join(value.to_bytes(bits // 8, "little", signed=True) for value in rows[0])
    deltas = [tuple(b - a for a, b in zip(one, two, strict=True)) for one, two in itertools.pairwise(rows)]
    for start in range(0, len(deltas), group_rows):
        group = deltas[start : start + group_rows]
        width = max((value if value >= 0 else ~value).bit_length() + 1 for row in group for value in row)
        packed, shift = 0, 0
        for value in (value for row in group for value in row):
            packed |= (value & ((1 << width) - 1)) << shift
            shift += width
        packet += bytes([width, len(group)]) + packed.to_bytes(math.ceil(shift / 8), "little")
        assert shift == width * len(group) * channels
    return packet
