"""What is inside a row before it is sealed: blocks of samples, events, and who a patient or a stream is.

Blocks keep their own cut, time, rate and uncertainty to the bit; their counts are coded together.
Events are a sequence (RFC 8742) of the deterministic CBOR of `core.events`, deflated with a dictionary
of their field names; two bytes before it say which types are among them. Pure: values in, bytes out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

import cbor2
import numpy as np

from bedside.core import events as event_codec
from bedside.core.codes import StreamKind
from bedside.core.errors import StoreError
from bedside.core.events import Event
from bedside.core.ports import Patient
from bedside.core.samples import Block, Counts, StreamInfo
from bedside.records import codec

WAVE_SCHEMA = 1
EVENTS_SCHEMA = 1
PATIENT_SCHEMA = 1
STREAM_SCHEMA = 1
EVENT_BYTES_MAX = 16 * 1024 * 1024  # of one row, inflated
_RATE, _UNCERTAINTY = 1, 2
_MASK_BYTES = 2
_OTHER_TYPE = 1 << 15
# Never renumbered. A type that is not here counts as "other".
_TYPES = ("beat", "numeric", "rhythm", "quality", "finding", "gap", "link", "alarm", "suppression", "audit")
_TYPE_BITS = {name: 1 << bit for bit, name in enumerate(_TYPES)}

# Never changed: rows of schema 1 open with it alone. The most frequent words stand last (RFC 1951 reaches back).
_DICTIONARY = (
    b"acknowledgedlatchedactiveendedphysiologicaltechnicalhighmediumlowjnot_measuredlead_offsaturatedmotionmuscle"
    b"mainsmissinggflathAFIBbVTcVFLdASYSeNOISEesupersedes\xf6gqualityfscore\xfbfusable\xf5freason\xf6"
    b"frhythmelabeliend_indexhevidence\xa0etype\x66rhythmealarmekindjconditionilatchingiraised_usjchanged_us"
    b"kalarm_classhpriorityestatedtextbbyfactionfdetail\xa0ssuppressionlinkhwearable"
    b"rMDC_ATTR_VAL_BATT_CHARGEx\x1aMDC_ECG_HEART_RATE_DEVICEwMDC_PULS_OXIM_PULS_RATEtMDC_PULS_OXIM_SAT_O2"
    b"rMDC_ECG_HEART_RATEdcodedunite/mindunita%djudged\xf5emodelx@drr_s\xfb?fjudgedjbeat_classaNaVaSaFaQ"
    b"kprobability\xfb?\xeflamplitude_mv\xfb?eindex\x1a\x00dtypedbeatbidx$019hvaliditydgoodfreason\xf6fsourcex "
    b"evalue\xfb@Q\xc0\x00\x00\x00\x00\x00bidx$019fend_us\xf6fschema\x01fstream\xf6gpatientx istart_us\x1b\x00\x06"
    b"isimulated\xf4jsupersedes\xf6dtypegnumeric"
)


def counts_of(blocks: Sequence[Block]) -> Counts:
    """All counts of blocks that go into one row."""
    return np.concatenate([block.counts for block in blocks]) if len(blocks) > 1 else blocks[0].counts


def pack_wave(blocks: Sequence[Block], coded: bytes | None = None) -> bytes:
    """Blocks of one stream (each with at least one sample) in the order given.

    `coded`: what `codec` makes of `counts_of(blocks)`, where that is known already.

    Index and time of the first are not in it: they stand in the row's clear columns and its binding.
    """
    out = bytearray()
    _put(out, len(blocks))
    index, end_us, uncertainty_us = blocks[0].first_index, blocks[0].start_us, 0
    rate_hz = blocks[0].stream.rate_hz
    for block in blocks:
        flags = _RATE * (block.rate_hz != rate_hz) | _UNCERTAINTY * (block.uncertainty_us != uncertainty_us)
        _put(out, flags)
        _put(out, block.counts.size)
        _put_signed(out, block.first_index - index)
        _put_signed(out, block.start_us - end_us)
        if flags & _RATE:
            out += struct.pack("<d", block.rate_hz)
        if flags & _UNCERTAINTY:
            _put_signed(out, block.uncertainty_us)
        index, end_us = block.first_index + block.counts.size, block.end_us
        rate_hz, uncertainty_us = block.rate_hz, block.uncertainty_us
    return bytes(out) + (codec.encode(counts_of(blocks)) if coded is None else coded)


def unpack_wave(data: bytes, info: StreamInfo, n_samples: int, index: int, end_us: int) -> list[Block]:
    """The blocks that `pack_wave` took, the first at sample `index` and time `end_us`. Raises `StoreError`."""
    reader = BytesIO(data)
    uncertainty_us = total = 0
    rate_hz = info.rate_hz
    heads: list[tuple[int, int, int, float, int]] = []
    for _ in range(_get(reader)):
        flags, n = _get(reader), _get(reader)
        index += _get_signed(reader)
        start_us = end_us + _get_signed(reader)
        if flags & _RATE:
            rate_hz = _get_double(reader)
        if flags & _UNCERTAINTY:
            uncertainty_us = _get_signed(reader)
        heads.append((index, n, start_us, rate_hz, uncertainty_us))
        total += n
        index += n
        end_us = start_us + round(n * 1_000_000 / rate_hz)
    if total != n_samples:
        raise StoreError(f"samples: {total} announced, {n_samples} stored")
    counts = codec.decode(reader.read(), n_samples)
    blocks: list[Block] = []
    at = 0
    for first_index, n, start_us, rate, uncertainty in heads:
        blocks.append(
            Block(
                stream=info,
                first_index=first_index,
                start_us=start_us,
                rate_hz=rate,
                counts=counts[at : at + n],
                uncertainty_us=uncertainty,
            )
        )
        at += n
    return blocks


def type_mask(types: Iterable[str]) -> int:
    """16 bits: which types of events there are, or are asked for."""
    mask = 0
    for name in types:
        mask |= _TYPE_BITS.get(name, _OTHER_TYPE)
    return mask


def pack_events(encoded: Iterable[bytes], types: Iterable[str]) -> bytes:
    """Events, each as `core.events.to_cbor` made it, in the order given; `types` has the type of each."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
    head = type_mask(types).to_bytes(_MASK_BYTES, "big")
    return head + packer.compress(b"".join(encoded)) + packer.flush()


def unpack_events(data: bytes, n_events: int, wanted: int = 0) -> list[dict[str, Any]]:
    """The events' plain values, in order; `restore_event` makes events of them. Raises `StoreError`.

    `wanted`: a `type_mask`; where none of its types is in the row, the row is not looked into. 0: all.
    """
    if wanted and not int.from_bytes(data[:_MASK_BYTES], "big") & wanted:
        return []
    unpacker = zlib.decompressobj(-15, _DICTIONARY)
    try:
        plain = unpacker.decompress(data[_MASK_BYTES:], EVENT_BYTES_MAX)
        if not unpacker.eof or unpacker.unused_data:
            raise StoreError("events: more bytes than a row holds, or fewer than were stored")
        reader = BytesIO(plain)
        decoder = cbor2.CBORDecoder(reader)
        values = [decoder.decode() for _ in range(n_events)]
    except (zlib.error, cbor2.CBORError, ValueError, EOFError) as error:
        raise StoreError("events: the row's bytes are damaged") from error
    if not all(isinstance(value, dict) for value in values):
        raise StoreError("events: the row holds something else")
    return values


def restore_event(values: dict[str, Any]) -> Event | None:
    """The event; None for a type that this version does not know. Raises `StoreError`."""
    try:
        return event_codec.from_dict(values)
    except ValueError as error:
        raise StoreError(f"events: an event of type {values.get('type')!r} lacks what its schema promises") from error


def pack_patient(patient: Patient) -> bytes:
    """Name, bed and wearables; the id stands in the row's binding."""
    return cbor2.dumps([patient.name, patient.bed, patient.simulated, list(patient.wearables)], canonical=True)


def unpack_patient(data: bytes, patient_id: str) -> Patient:
    """Raises `StoreError`."""
    try:
        name, bed, simulated, wearables = cbor2.loads(data)
    except (cbor2.CBORError, ValueError, TypeError, EOFError) as error:
        raise StoreError("patient: the row's bytes are damaged") from error
    return Patient(id=patient_id, name=name, bed=bed, simulated=simulated, wearables=tuple(wearables))


def pack_stream(info: StreamInfo) -> bytes:
    """All but the ids of stream and patient, which stand in the row's binding."""
    values = [info.wearable, str(info.kind), info.label, info.rate_hz, info.unit, info.unit_per_count, info.simulated]
    return cbor2.dumps(values, canonical=True)


def unpack_stream(data: bytes, stream_id: str, patient_id: str) -> StreamInfo:
    """Raises `StoreError`."""
    try:
        wearable, kind, label, rate_hz, unit, unit_per_count, simulated = cbor2.loads(data)
        return StreamInfo(
            id=stream_id,
            patient=patient_id,
            wearable=wearable,
            kind=StreamKind(kind),
            label=label,
            rate_hz=float(rate_hz),
            unit=unit,
            unit_per_count=float(unit_per_count),
            simulated=simulated,
        )
    except (cbor2.CBORError, ValueError, TypeError, EOFError) as error:
        raise StoreError("stream: the row's bytes are damaged, or newer than this version") from error


def _put(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _put_signed(out: bytearray, value: int) -> None:
    _put(out, -2 * value - 1 if value < 0 else 2 * value)


def _get(reader: BytesIO) -> int:
    value = shift = 0
    while shift < 70:
        byte = reader.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
    raise StoreError("samples: the row's head is cut")


def _get_signed(reader: BytesIO) -> int:
    value = _get(reader)
    return -(value + 1 >> 1) if value & 1 else value >> 1


def _get_double(reader: BytesIO) -> float:
    data = reader.read(8)
    rate_hz = struct.unpack("<d", data)[0] if len(data) == 8 else 0.0
    if not rate_hz > 0:
        raise StoreError("samples: the row's head holds no rate")
    return float(rate_hz)
