"""Alarms as a report lists them: one entry for each episode of a condition, from the changes that an engine gave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bedside.alarms.table import URGENCY
from bedside.core.events import Alarm, Event, Evidence, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEpisode:
    """A condition from `start_us` to `end_us` (None: still on; a latch never prolongs it), signalled at `raised_us`."""

    kind: str
    priority: Priority  # the highest that it reached
    start_us: int
    end_us: int | None
    raised_us: int
    latched: bool
    text: str
    evidence: Evidence


def episodes(events: Iterable[Event]) -> list[AlarmEpisode]:
    """The episodes in the order in which they were signalled; `events` in the order in which they came.

    An alarm that is latched when its condition comes again has a second episode, not a second alarm.
    """
    found: list[AlarmEpisode] = []
    newest: dict[str, int] = {}  # alarm id: its newest episode's place in `found`
    on: dict[str, bool] = {}
    for event in events:
        if not isinstance(event, Alarm):
            continue
        if event.condition and not on.get(event.alarm, False):
            newest[event.alarm] = len(found)
            found.append(_begun(event))
        elif event.alarm in newest:
            place = newest[event.alarm]
            found[place] = _grown(found[place], event)
        on[event.alarm] = event.condition
    return found


def _begun(alarm: Alarm) -> AlarmEpisode:
    return AlarmEpisode(
        kind=alarm.kind,
        priority=alarm.priority,
        start_us=alarm.start_us,
        end_us=alarm.end_us,
        raised_us=alarm.changed_us,
        latched=alarm.latching,
        text=alarm.text,
        evidence=alarm.evidence,
    )


def _grown(episode: AlarmEpisode, alarm: Alarm) -> AlarmEpisode:
    higher = min(episode.priority, alarm.priority, key=lambda priority: URGENCY[priority])
    return replace(episode, priority=higher, end_us=alarm.end_us, text=alarm.text, evidence=alarm.evidence)
