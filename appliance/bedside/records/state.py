"""What the store keeps in memory beside the database, and how it is put into checkpoints.

All of it could be worked out again by reading every entry; a checkpoint makes that unnecessary. After a
crash the few entries behind the last checkpoint are read and the state rolled forward.
Pure: values in, bytes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cbor2

from bedside.core import events as event_codec
from bedside.core.errors import StoreError
from bedside.core.events import Alarm, AlarmState, Event, Numeric
from bedside.core.ports import Patient
from bedside.core.samples import StreamInfo
from bedside.records import trend
from bedside.records.log import Frontier
from bedside.records.schema import BOX_SERIES, FORM_PATIENT

CHECKPOINT_SCHEMA = 1
BOX_ID = "box"


@dataclass(slots=True)
class Series:
    """A patient, a stream, or the box: whose entries are counted together."""

    number: int
    form: int
    id: str
    owner: int
    next_seq: int = 0
    next_index: int = 0  # of a stream: after its last sample
    patient: Patient | None = None
    info: StreamInfo | None = None

    def saw_index(self, next_index: int) -> None:
        self.next_index = max(self.next_index, next_index)


@dataclass(slots=True)
class OwnerState:
    """What is known of a patient, or of the box, without reading her entries."""

    newest_us: int | None = None
    open_alarms: dict[str, Alarm] = field(default_factory=dict)
    minutes: trend.Minutes = field(default_factory=dict)  # of numbers that no row of trends holds yet

    def saw(self, time_us: int) -> None:
        self.newest_us = time_us if self.newest_us is None else max(self.newest_us, time_us)

    def take(self, event: Event) -> None:
        """Roll forward by one event."""
        self.saw(max(event.start_us, event.end_us or event.start_us))
        if isinstance(event, Numeric):
            trend.add(self.minutes, event)
        elif isinstance(event, Alarm):
            self.open_alarms.pop(event.alarm, None)
            if event.state is not AlarmState.ENDED:
                self.open_alarms[event.alarm] = event

    def copy(self) -> OwnerState:
        return OwnerState(self.newest_us, dict(self.open_alarms), dict(self.minutes))


@dataclass(slots=True)
class State:
    """The whole."""

    series: dict[int, Series] = field(default_factory=lambda: {BOX_SERIES: Series(BOX_SERIES, 0, BOX_ID, BOX_SERIES)})
    owners: dict[int, OwnerState] = field(default_factory=dict)
    frontier: Frontier = field(default_factory=Frontier)
    patients: dict[str, int] = field(default_factory=dict)  # id: series, in the order of admission
    streams: dict[str, list[int]] = field(default_factory=dict)  # id: a series for each description it had
    erased: set[int] = field(default_factory=set)  # patients' series to which nothing is added any more

    def add(self, series: Series) -> None:
        """Make a series known."""
        self.series[series.number] = series
        if series.form == FORM_PATIENT:
            self.patients[series.id] = series.number
        else:
            self.streams.setdefault(series.id, []).append(series.number)

    def owner_state(self, patient: str | None) -> OwnerState | None:
        """What is known of a patient, or (None) of the box."""
        number = BOX_SERIES if patient is None else self.patients.get(patient)
        return None if number is None else self.owners.get(number)

    def names(self, number: int) -> tuple[str, str]:
        """The ids of patient and stream that bind an entry of this series; the stream's is empty for other forms.

        Raises `StoreError` for a number that stands for nobody.
        """
        series = self.series.get(number)
        if series is None or series.owner not in self.series:
            raise StoreError(f"series {number} is not known: the table `series` is damaged")
        return self.series[series.owner].id, series.id if series.owner != number else ""


def pack_checkpoint(state: State, owner: int) -> bytes:
    """The part of one owner; the box's also holds the log's right edge."""
    kept = state.owners.get(owner, OwnerState())
    seqs = [[one.number, one.next_seq, one.next_index] for one in state.series.values() if one.owner == owner]
    alarms = [event_codec.to_cbor(alarm) for alarm in kept.open_alarms.values()]
    edge = [state.frontier.size, state.frontier.nodes] if owner == BOX_SERIES else []
    return cbor2.dumps([kept.newest_us, seqs, alarms, edge], canonical=True)


def unpack_checkpoint(data: bytes, state: State, owner: int) -> None:
    """Put one owner's part into `state`. Raises `StoreError`."""
    try:
        newest_us, seqs, alarms, edge = cbor2.loads(data)
        kept = OwnerState(newest_us)
        for encoded in alarms:
            event = event_codec.from_cbor(encoded)
            if isinstance(event, Alarm):
                kept.open_alarms[event.alarm] = event
        for number, next_seq, next_index in seqs:
            state.series[number].next_seq = next_seq
            state.series[number].saw_index(next_index)
        if owner == BOX_SERIES:
            state.frontier = Frontier(edge[0], edge[1])
    except (cbor2.CBORError, ValueError, TypeError, KeyError, IndexError, EOFError) as error:
        raise StoreError("checkpoint: its bytes are damaged") from error
    state.owners[owner] = kept
