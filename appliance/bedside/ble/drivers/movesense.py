"""Movesense's GATT SensorData Protocol (GSP): single-lead ECG of the chest, raw counts.

A command is a code, a reference of our choosing and a resource's path; an answer is 1, the reference and a status as
in HTTP; data are 2, the reference, the time of the first sample in ms since the sensor was switched on, and 16 samples
of 32 bits. The sensor does not say whether it can do a rate: data must come, and the session sees that they do.

Sources: www.movesense.com/docs/esw/gatt_sensordata_protocol and www.movesense.com/docs/esw/api_reference (/Meas/ECG:
its rates; one count is 0.381469726563 µV). Its clock (32 bits of ms) begins anew after 49 days: a clock that restarts.
"""

from __future__ import annotations

import struct

import numpy as np

from bedside.ble.drivers.api import API, Device, Driver, EcgFrame, Stream
from bedside.ble.reader import Reader
from bedside.core.errors import WearableError

SERVICE = "34802252-7185-4d5d-b431-630e7050e8f0"
COMMAND = "34800001-7185-4d5d-b431-630e7050e8f0"
DATA = "34800002-7185-4d5d-b431-630e7050e8f0"

SUBSCRIBE, UNSUBSCRIBE = 1, 2
ANSWERED, NOTIFIED = 1, 2
REFERENCE = 0x45
RATES_HZ = (125, 128, 200, 250, 256, 500)
RATE_HZ = 250
MV_PER_COUNT = 0.000381469726563
OK = 200
CHARACTERISTIC = "Movesense GSP data"


def encode_frame(timestamp_ms: int, counts: tuple[int, ...]) -> bytes:
    """A data notification of our subscription, as the sensor sends it."""
    return struct.pack(f"<BBI{len(counts)}i", NOTIFIED, REFERENCE, timestamp_ms, *counts)


def encode_answer(status: int) -> bytes:
    """The answer to our command."""
    return struct.pack("<BBH", ANSWERED, REFERENCE, status)


def decode_answer(payload: bytes) -> int | None:
    """The status of the answer to our command; None: it is no answer to us. Raises `DecodeError`."""
    reader = Reader(CHARACTERISTIC, payload)
    code, reference = reader.u8("code"), reader.u8("reference")
    if code != ANSWERED or reference != REFERENCE:
        return None
    return reader.u16("status")  # what follows belongs to other commands


def decode(payload: bytes, stream: Stream) -> EcgFrame | None:
    """Samples of our subscription; None: an answer, or another's data. Raises `DecodeError`, and nothing else."""
    reader = Reader(CHARACTERISTIC, payload)
    code, reference = reader.u8("code"), reader.u8("reference")
    if code != NOTIFIED or reference != REFERENCE:
        return None
    first_ms = reader.u32("timestamp")
    if not reader.left or reader.left % 4:
        reader.refuse("ECG sample", f"needs 4 bytes each, {reader.left} left")
    counts = np.frombuffer(reader.rest(), dtype="<i4").astype(np.int32)
    return EcgFrame(last_ns=first_ms * 1_000_000 + round((counts.size - 1) * 1e9 / stream.rate_hz), counts=counts)


def _match(device: Device) -> bool:
    return device.has(COMMAND) and device.has(DATA)


async def _prepare(_: Device, running_hz: float | None) -> Stream:
    if running_hz is not None and running_hz not in RATES_HZ:
        raise WearableError(f"the wearable does not offer the {running_hz:g} Hz of this stream")
    return Stream(rate_hz=running_hz or float(RATE_HZ), mv_per_count=MV_PER_COUNT)


async def _start(device: Device, stream: Stream) -> None:
    await device.listen(DATA)
    await device.write(COMMAND, bytes([UNSUBSCRIBE, REFERENCE]))  # of a link whose end it did not notice
    path = f"/Meas/ECG/{stream.rate_hz:.0f}"
    await device.write(COMMAND, bytes([SUBSCRIBE, REFERENCE]) + path.encode("ascii"))
    while (status := decode_answer(await device.answer(DATA))) is None:
        pass
    if status != OK:
        raise WearableError(f"the wearable refused to start its ECG: status {status}")


async def _stop(device: Device) -> None:
    await device.write(COMMAND, bytes([UNSUBSCRIBE, REFERENCE]))


DRIVER = Driver(
    api=API,
    name="Movesense GSP",
    data=DATA,
    late_s=3.0,
    match=_match,
    prepare=_prepare,
    start=_start,
    stop=_stop,
    decode=decode,
    sources=("www.movesense.com/docs/esw/gatt_sensordata_protocol", "www.movesense.com/docs/esw/api_reference"),
)
