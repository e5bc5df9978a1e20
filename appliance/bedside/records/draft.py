"""A batch on its way to the database: entries sealed and numbered, and the state as it will be once they are on disk.

A draft that is not committed leaves nothing behind but spent counters of the sealers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cbor2

from bedside.core import events as event_codec
from bedside.core.errors import RejectedError
from bedside.core.events import Event
from bedside.core.ports import Patient
from bedside.core.samples import Block, StreamInfo
from bedside.records import codec, packing
from bedside.records.entries import INT64_END, Entry, binding, leaf_of
from bedside.records.keys import IDENTITY_KEY, RECORDS_KEY
from bedside.records.log import Frontier
from bedside.records.schema import (
    BOX_SERIES,
    FORM_EVENTS,
    FORM_PATIENT,
    FORM_STREAM,
    FORM_WAVE,
    SPAN_US_MAX,
)
from bedside.records.state import BOX_ID, OwnerState, Series, State

WAVE_SAMPLES_MAX = 65_536  # of blocks gathered into one entry; one block is never cut
EVENTS_BYTES_MAX = 64 * 1024  # of events gathered into one entry


class Seals(Protocol):
    """Seals under the newest key of an owner and purpose."""

    def seal(self, owner: str, purpose: str, plaintext: bytes, bound: bytes) -> bytes: ...

    def number(self, owner: str, purpose: str) -> int:
        """The number by which rows name that key."""
        ...


@dataclass(slots=True)
class Draft:
    """Collects one transaction. `state` is what is on disk now and is not changed before `commit`."""

    state: State
    seals: Seals
    now_us: int
    entries: list[Entry] = field(default_factory=list)
    new_series: list[Series] = field(default_factory=list)
    frontier: Frontier = field(init=False)
    _seqs: dict[int, int] = field(default_factory=dict)
    _next_index: dict[int, int] = field(default_factory=dict)
    _owners: dict[int, OwnerState] = field(default_factory=dict)
    _infos: dict[str, Series] = field(default_factory=dict)  # streams of this batch
    _identity: tuple[int, Patient] | None = None

    def __post_init__(self) -> None:
        self.frontier = self.state.frontier.copy()

    def add_patient(self, patient: Patient) -> None:
        """A new patient, or a changed one. The same again is no change."""
        if patient.id == BOX_ID:
            raise RejectedError(f"{BOX_ID!r} is no patient's id")
        number = self.state.patients.get(patient.id)
        if number in self.state.erased:
            raise RejectedError("this patient was erased: a new admission needs a new id; nothing was written")
        if number is not None and self.state.series[number].patient == patient:
            return
        if number is None:
            number = self._next_series()
            self.new_series.append(Series(number, FORM_PATIENT, patient.id, number))
            self.seals.number(patient.id, RECORDS_KEY)  # her first second must not wait for a key
        self._identity = (number, patient)
        self._add(
            FORM_PATIENT, number, (patient.id, ""), IDENTITY_KEY, packing.pack_patient(patient), packing.PATIENT_SCHEMA
        )

    def add_stream(self, info: StreamInfo) -> Series:
        """The series of a stream; a new one for a new stream, or when its description has changed."""
        known = self._infos.get(info.id)
        if known is None and info.id in self.state.streams:
            known = self.state.series[self.state.streams[info.id][-1]]
        if known is not None and known.info == info:
            self._infos[info.id] = known
            return known
        owner = self._patient(info.patient)
        if known is not None and known.owner != owner:
            raise RejectedError("a stream that belongs to one patient was given as another's: nothing was written")
        series = Series(self._next_series(), FORM_STREAM, info.id, owner, info=info)
        self.new_series.append(series)
        self._infos[info.id] = series
        plain = packing.pack_stream(info)
        self._add(FORM_STREAM, series.number, (info.patient, info.id), RECORDS_KEY, plain, packing.STREAM_SCHEMA)
        return series

    def add_blocks(self, blocks: Sequence[Block]) -> None:
        """Samples; what a stream sent in this batch is gathered into few entries. Empty blocks hold nothing."""
        by_stream: dict[str, list[Block]] = {}
        for block in blocks:
            if block.counts.size:
                by_stream.setdefault(block.stream.id, []).append(block)
        groups = [group for of_stream in by_stream.values() for group in _gathered(of_stream)]
        coded = codec.encode_many([packing.counts_of(group) for group in groups])
        for group, one in zip(groups, coded, strict=True):
            self._add_wave(group, one)

    def add_events(self, events: Sequence[Event]) -> None:
        """Events; those of one patient and of about one time are gathered into one entry."""
        by_owner: dict[str | None, list[Event]] = {}
        for event in events:
            by_owner.setdefault(event.patient, []).append(event)
        for patient, of_owner in by_owner.items():
            owner = BOX_SERIES if patient is None else self._patient(patient)
            kept = self._owner(owner)
            for group in _grouped(of_owner):
                start_us = min(event.start_us for event, _ in group)
                self._add(
                    FORM_EVENTS,
                    owner,
                    (BOX_ID if patient is None else patient, ""),
                    RECORDS_KEY,
                    packing.pack_events((encoded for _, encoded in group), (event.type for event, _ in group)),
                    packing.EVENTS_SCHEMA,
                    n=len(group),
                    start_us=start_us,
                    span_us=max(event.start_us for event, _ in group) - start_us,
                )
            for event in of_owner:
                kept.take(event)

    def touched(self) -> set[int]:
        """Owners whose checkpoint is older than what this draft changes."""
        owners = {one.owner for one in self.new_series} | set(self._owners)
        known = {one.number: one.owner for one in self.new_series}
        owners.update(known.get(entry.series) or self.state.series[entry.series].owner for entry in self.entries)
        return owners | {BOX_SERIES}

    def commit(self) -> None:
        """The entries are on disk: bring the state up to them."""
        for series in self.new_series:
            self.state.add(series)
        if self._identity is not None:
            number, patient = self._identity
            self.state.series[number].patient = patient
        for number, next_seq in self._seqs.items():
            self.state.series[number].next_seq = next_seq
        for number, next_index in self._next_index.items():
            self.state.series[number].saw_index(next_index)
        self.state.owners.update(self._owners)
        self.state.frontier = self.frontier

    def _add_wave(self, group: list[Block], coded: bytes) -> None:
        info = group[0].stream
        series = self.add_stream(info)
        start_us = group[0].start_us
        end_us = max(block.end_us for block in group)
        self._add(
            FORM_WAVE,
            series.number,
            (info.patient, info.id),
            RECORDS_KEY,
            packing.pack_wave(group, coded),
            packing.WAVE_SCHEMA,
            first_index=group[0].first_index,
            n=sum(block.counts.size for block in group),
            start_us=start_us,
            span_us=end_us - start_us,
        )
        self._owner(series.owner).saw(end_us)
        end_index = group[-1].first_index + group[-1].counts.size
        self._next_index[series.number] = max(self._next_index.get(series.number, 0), end_index)

    def _add(
        self,
        form: int,
        series: int,
        names: tuple[str, str],
        purpose: str,
        plain: bytes,
        schema: int,
        *,
        first_index: int = 0,
        n: int = 1,
        start_us: int | None = None,
        span_us: int = 0,
    ) -> None:
        known = self.state.series.get(series)
        seq = self._seqs.get(series, known.next_seq if known else 0)
        start_us = self.now_us if start_us is None else start_us
        bare = Entry(
            position=self.frontier.size,
            form=form,
            series=series,
            seq=seq,
            first_index=first_index,
            n=n,
            start_us=start_us,
            span_us=span_us,
            schema=schema,
            data_key=self.seals.number(names[0], purpose),
            sealed=b"",
        )
        if not all(-INT64_END <= value < INT64_END for value in (start_us, start_us + span_us, first_index)):
            raise RejectedError("a time or sample index does not fit into 64 bits: nothing was written")
        entry = bare._replace(sealed=self.seals.seal(names[0], purpose, plain, binding(bare, *names)))
        self.frontier.append(leaf_of(entry, *names))
        self._seqs[series] = seq + 1
        self.entries.append(entry)

    def _next_series(self) -> int:
        return max(self.state.series) + len(self.new_series) + 1

    def _owner(self, number: int) -> OwnerState:
        if number not in self._owners:
            known = self.state.owners.get(number)
            self._owners[number] = known.copy() if known else OwnerState()
        return self._owners[number]

    def _patient(self, patient: str) -> int:
        number = self.state.patients.get(patient)
        if number is None:
            raise RejectedError("a patient is not known to the store: put_patient comes first; nothing was written")
        if number in self.state.erased:
            raise RejectedError("this patient was erased: nothing was written")
        return number


def _gathered(blocks: list[Block]) -> Iterator[list[Block]]:
    """Cut where the description changes, samples are missing, time goes back, or an entry would span too much."""
    group = [blocks[0]]
    samples = blocks[0].counts.size
    for block in blocks[1:]:
        samples += block.counts.size
        fits = (
            block.stream == group[0].stream
            and block.first_index == group[-1].first_index + group[-1].counts.size
            and block.start_us >= group[-1].start_us
            and block.end_us - group[0].start_us <= SPAN_US_MAX
            and samples <= WAVE_SAMPLES_MAX
        )
        if fits:
            group.append(block)
        else:
            yield group
            group, samples = [block], block.counts.size
    yield group


def _grouped(events: list[Event]) -> Iterator[list[tuple[Event, bytes]]]:
    """In the order of writing, cut where an entry would span or hold too much."""
    group: list[tuple[Event, bytes]] = []
    size, low, high = 0, events[0].start_us, events[0].start_us
    for event in events:
        encoded = _encoded(event)
        low, high = min(low, event.start_us), max(high, event.start_us)
        if group and (high - low > SPAN_US_MAX or size + len(encoded) > EVENTS_BYTES_MAX):
            yield group
            group, size, low, high = [], 0, event.start_us, event.start_us
        group.append((event, encoded))
        size += len(encoded)
    yield group


def _encoded(event: Event) -> bytes:
    try:
        encoded = event_codec.to_cbor(event)
    except (cbor2.CBORError, TypeError, ValueError) as error:
        raise RejectedError(f"an event of type {event.type!r} holds what CBOR cannot: nothing was written") from error
    if len(encoded) > packing.EVENT_BYTES_MAX:
        raise RejectedError(f"an event of type {event.type!r} has {len(encoded)} bytes: nothing was written")
    return encoded
