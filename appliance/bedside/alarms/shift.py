"""What happened in a span of time, for a handover and for the fatigue page: alarms counted, answered, left waiting.

Pure: stored events in (of one patient, any order), plain values out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bedside.alarms.table import URGENCY
from bedside.core.events import Alarm, AlarmState, Audit, Event, Json, Suppression
from bedside.core.time import US_PER_S

QUICK_S = 30.0
DAY_S = 86_400.0
ACTS = ("set_limit", "quiet", "quiet_over", "review", "observe", "admit", "discharge", "break_glass")
LISTED_MAX = 60


@dataclass(frozen=True, slots=True)
class Told:
    """One alarm from its raising to its newest word. `heard_s`: how long until somebody answered, None: nobody has."""

    newest: Alarm
    heard_s: float | None

    def plain(self) -> dict[str, Json]:
        """For the pages."""
        one = self.newest
        return {
            "alarm": one.alarm, "kind": one.kind, "priority": str(one.priority), "alarm_class": str(one.alarm_class),
            "state": str(one.state), "raised_us": one.raised_us, "start_us": one.start_us, "end_us": one.end_us,
            "text": one.text, "by": one.by, "stream": one.stream, "heard_s": self.heard_s,
        }  # fmt: skip


def told(events: Iterable[Event]) -> list[Told]:
    """Each alarm once, oldest first."""
    newest: dict[str, Alarm] = {}
    answered_us: dict[str, int] = {}
    for event in events:
        if not isinstance(event, Alarm):
            continue
        before = newest.get(event.alarm)
        if before is None or (event.changed_us, event.id) >= (before.changed_us, before.id):
            newest[event.alarm] = event
        if event.by and event.state in (AlarmState.ACKNOWLEDGED, AlarmState.ENDED):
            first_us = min(event.changed_us, answered_us.get(event.alarm, event.changed_us))
            answered_us[event.alarm] = first_us
    found = []
    for alarm, one in newest.items():
        at_us = answered_us.get(alarm)
        found.append(Told(one, None if at_us is None else max(0.0, (at_us - one.raised_us) / US_PER_S)))
    return sorted(found, key=lambda one: (one.newest.raised_us, one.newest.alarm))


def handover(events: Sequence[Event]) -> dict[str, Json]:
    """One patient's shift: her alarms, most urgent first, what was held back and why, and what was done."""
    alarms = sorted(told(events), key=lambda one: (URGENCY[one.newest.priority], -one.newest.raised_us))
    held = [one for one in events if isinstance(one, Suppression) and one.supersedes is None]
    acts: list[Json] = [
        {"at_us": one.start_us, "by": one.actor, "action": one.action, "what": _what(one)}
        for one in events
        if isinstance(one, Audit) and one.action in ACTS
    ]
    reasons = Counter((one.kind, one.reason) for one in held)
    return {
        "counts": {str(priority): sum(one.newest.priority is priority for one in alarms) for priority in URGENCY},
        "unanswered": sum(one.heard_s is None and one.newest.state is not AlarmState.ENDED for one in alarms),
        "alarms": [one.plain() for one in alarms[:LISTED_MAX]],
        "more": max(0, len(alarms) - LISTED_MAX),
        "suppressed": [{"kind": kind, "reason": why, "count": n} for (kind, why), n in reasons.most_common(LISTED_MAX)],
        "acts": acts[-LISTED_MAX:],
    }


def _what(act: Audit) -> str:
    return str(act.detail.get("what") or act.detail.get("code") or "")


def fatigue(events: Sequence[Event], span_s: float) -> dict[str, Json]:
    """One patient's load: alarms a day, by condition, and the share that was answered within `QUICK_S`."""
    alarms = told(events)
    days = max(span_s, 60.0) / DAY_S
    kinds = Counter(one.newest.kind for one in alarms)
    quick = sum(one.heard_s is not None and one.heard_s <= QUICK_S for one in alarms)
    held = sum(isinstance(one, Suppression) and one.supersedes is None for one in events)
    return {
        "alarms": len(alarms),
        "per_day": round(len(alarms) / days, 1),
        "quick": quick,
        "unanswered": sum(one.heard_s is None for one in alarms),
        "suppressed": held,
        "kinds": dict(kinds.most_common()),
    }
