"""What a monitor gives: events in the order in which they became known, and waves for the screen."""

from __future__ import annotations

from dataclasses import dataclass

from bedside.core.events import Event
from bedside.core.samples import Floats, StreamInfo


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CleanWave:
    """Samples for the screen: `values` in the stream's unit, NaN where missing, `rate_hz` of them a second.

    `first_index` counts samples at this rate since the stream began; one that is not the end of the last wave
    leaves a gap.
    """

    stream: StreamInfo
    first_index: int
    start_us: int
    rate_hz: float
    values: Floats


@dataclass(frozen=True, slots=True)
class MonitorOutput:
    """`known_us[i]`: the data's time at which `events[i]` could first be known (its sample, plus what analysis needs).

    An event's own `start_us` is when it happened. Whoever decides on delays uses `known_us`: it does not
    depend on how many samples came at once.
    """

    events: tuple[Event, ...] = ()
    waves: tuple[CleanWave, ...] = ()
    known_us: tuple[int, ...] = ()


class Outbox:
    """Collects one call's output."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._known_us: list[int] = []
        self._waves: list[CleanWave] = []

    def add(self, known_us: int, event: Event) -> None:
        self._events.append(event)
        self._known_us.append(known_us)

    def __len__(self) -> int:
        return len(self._events)

    def since(self, n: int) -> list[Event]:
        """The events that were added when there were `n`."""
        return self._events[n:]

    def wave(self, wave: CleanWave) -> None:
        self._waves.append(wave)

    def done(self) -> MonitorOutput:
        return MonitorOutput(tuple(self._events), tuple(self._waves), tuple(self._known_us))
