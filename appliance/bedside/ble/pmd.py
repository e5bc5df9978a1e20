"""Polar Measurement Data service: data frames (fb005c82-…) and the control point (fb005c81-…), both directions.

Source: Polar BLE SDK documentation, "Polar Measurement Data specification". Pure; no clock, file, socket or asyncio.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from bedside.ble.reader import Reader
from bedside.core.samples import Counts

SERVICE = "fb005c80-02e7-f387-1cad-8acd2d8df0c8"
CONTROL_POINT = "fb005c81-02e7-f387-1cad-8acd2d8df0c8"
DATA = "fb005c82-02e7-f387-1cad-8acd2d8df0c8"

EPOCH_2000_US = 946_684_800_000_000
"""2000-01-01 UTC, where PMD time stamps begin, in microseconds since 1970."""

CLOCK_UNSET_NS = 599_616_000_000_000_000
"""2019-01-01: where the clock of an H10 restarts when it was off the strap."""

ECG_SAMPLES_MAX = 168
"""As many 24-bit samples as fit a notification of the largest ATT MTU (517) after the header."""


class Kind(IntEnum):
    """Measurement types."""

    ECG = 0
    PPG = 1
    ACC = 2
    PPI = 3
    GYRO = 5
    MAGNETOMETER = 6
    SKIN_TEMPERATURE = 7
    SDK_MODE = 9
    LOCATION = 10
    PRESSURE = 11
    TEMPERATURE = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EcgFrame:
    """Consecutive ECG samples: int32 microvolts, shape (n,); the time stamp is of the *last* one, ns since 2000."""

    timestamp_ns_2000: int
    uv: Counts

    def encode(self) -> bytes:
        """The packet. Raises `ValueError` for a sample outside 24 bits."""
        if self.uv.size and not -(1 << 23) <= int(self.uv.min()) <= int(self.uv.max()) < 1 << 23:
            raise ValueError("ECG sample does not fit 24 bits")
        samples = self.uv.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
        return struct.pack("<BQB", Kind.ECG, self.timestamp_ns_2000, 0) + samples.tobytes()


def decode_ecg_frame(payload: bytes) -> EcgFrame:
    """Decode an uncompressed ECG frame of type 0. Raises `DecodeError`, and nothing else.

    Refused: another measurement or frame type, compression (the specification has none for ECG), a frame without a
    sample, and one that ends inside a sample.
    """
    reader = Reader("Polar PMD data", payload)
    kind = reader.u8("measurement type")
    if kind != Kind.ECG:
        reader.refuse("measurement type", f"{kind}: expected ECG (0)")
    timestamp = reader.u64("timestamp")
    frame_type = reader.u8("frame type")
    if frame_type != 0:
        reader.refuse("frame type", f"0x{frame_type:02X}: ECG has only type 0, not compressed")
    return EcgFrame(timestamp_ns_2000=timestamp, uv=read_i24(reader, "ECG sample"))


def read_i24(reader: Reader, name: str) -> Counts:
    """The rest of the packet as signed 24-bit numbers, at least one; int32, shape (n,)."""
    if not reader.left:
        reader.refuse(name, "the frame holds none")
    if reader.left % 3:
        reader.refuse(name, f"needs 3 bytes, {reader.left % 3} left")
    raw = np.frombuffer(reader.rest(), dtype=np.uint8).reshape(-1, 3)
    wide = np.zeros((raw.shape[0], 4), dtype=np.uint8)
    wide[:, 1:] = raw
    return (wide.reshape(-1).view("<i4") >> 8).astype(np.int32)


class Op(IntEnum):
    """Control point commands."""

    GET_SETTINGS = 1
    START = 2
    STOP = 3


class Status(IntEnum):
    """Control point error codes."""

    SUCCESS = 0
    INVALID_OP_CODE = 1
    INVALID_MEASUREMENT_TYPE = 2
    NOT_SUPPORTED = 3
    INVALID_LENGTH = 4
    INVALID_PARAMETER = 5
    ALREADY_IN_STATE = 6
    INVALID_RESOLUTION = 7
    INVALID_SAMPLE_RATE = 8
    INVALID_RANGE = 9
    INVALID_MTU = 10
    INVALID_NUMBER_OF_CHANNELS = 11
    INVALID_STATE = 12
    DEVICE_IN_CHARGER = 13
    DISK_FULL = 14


class Setting(IntEnum):
    """What a stream can be set to."""

    SAMPLE_RATE = 0  # Hz
    RESOLUTION = 1  # bits
    RANGE = 2
    RANGE_MILLI = 3
    CHANNELS = 4
    FACTOR = 5


_SETTING_BYTES = {
    Setting.SAMPLE_RATE: 2,
    Setting.RESOLUTION: 2,
    Setting.RANGE: 2,
    Setting.RANGE_MILLI: 4,
    Setting.CHANNELS: 1,
    Setting.FACTOR: 4,
}

Settings = dict[Setting, tuple[int, ...]]


def encode_settings(settings: Settings) -> bytes:
    """Settings as the control point carries them: type, count, values."""
    packet = b""
    for setting, values in settings.items():
        packet += bytes([setting, len(values)])
        packet += b"".join(value.to_bytes(_SETTING_BYTES[setting], "little") for value in values)
    return packet


def _read_settings(reader: Reader) -> Settings:
    settings: Settings = {}
    while reader.left:
        code = reader.u8("setting type")
        if code > max(Setting):
            reader.refuse("setting type", f"{code}: its length is not known")
        setting = Setting(code)
        count = reader.u8("setting count")
        settings[setting] = tuple(reader.unsigned("setting value", _SETTING_BYTES[setting]) for _ in range(count))
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a client writes to the control point. `kind` is raw: a wearable must be able to refuse an unknown one."""

    op: int
    kind: int
    settings: Settings = field(default_factory=dict)

    def encode(self) -> bytes:
        return bytes([self.op, self.kind]) + encode_settings(self.settings)


def decode_command(payload: bytes) -> Command:
    """Decode a control point write. Raises `DecodeError`, and nothing else."""
    reader = Reader("Polar PMD control point command", payload)
    return Command(op=reader.u8("op code"), kind=reader.u8("measurement type"), settings=_read_settings(reader))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the control point answers by indication. `more`: the settings go on in a further indication."""

    op: int
    kind: int
    status: int
    more: bool = False
    settings: Settings = field(default_factory=dict)

    def encode(self) -> bytes:
        head = bytes([0xF0, self.op, self.kind, self.status])
        return head + bytes([self.more]) + encode_settings(self.settings) if self.status == Status.SUCCESS else head

    @property
    def status_name(self) -> str:
        """The status in words, for logs and reasons."""
        known = {int(status): status.name.lower().replace("_", " ") for status in Status}
        return known.get(self.status, f"error {self.status}")


def decode_response(payload: bytes) -> Response:
    """Decode a control point indication. Raises `DecodeError`, and nothing else.

    The parameters of a stop or a refusal are not read: nothing is taken from them.
    """
    reader = Reader("Polar PMD control point response", payload)
    if (code := reader.u8("response code")) != 0xF0:
        reader.refuse("response code", f"0x{code:02X}: expected 0xF0")
    op, kind, status = reader.u8("op code"), reader.u8("measurement type"), reader.u8("status")
    if status != Status.SUCCESS or op == Op.STOP:
        return Response(op=op, kind=kind, status=status)
    more = bool(reader.u8("more")) if reader.left else False
    return Response(op=op, kind=kind, status=status, more=more, settings=_read_settings(reader))


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a read of the control point says: the measurement types that the wearable can stream."""

    kinds: frozenset[Kind]

    def encode(self) -> bytes:
        bits = sum(1 << kind for kind in self.kinds)
        return b"\x0f" + bits.to_bytes(2, "little") + bytes(14)


def decode_features(payload: bytes) -> Features:
    """Decode a read of the control point. Raises `DecodeError`, and nothing else; unknown bits are ignored."""
    reader = Reader("Polar PMD features", payload)
    if (code := reader.u8("response code")) != 0x0F:
        reader.refuse("response code", f"0x{code:02X}: expected 0x0F")
    bits = reader.u8("features")
    if reader.left:
        bits |= reader.u8("features") << 8
    reader.rest()
    return Features(kinds=frozenset(kind for kind in Kind if bits >> kind & 1))
