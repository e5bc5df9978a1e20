"""What a person has switched off for one patient, by name, for a time: single alarms, or in standby all but the lethal.

Asystole, VF, VT, apnoea, desaturation and the patient's own call (`can_be_off = false` of the table) go through
both. Whatever is held back becomes a `Suppression` with the sentence of here, so that it stands in the review queue.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bedside.alarms.table import Condition, ConditionTable
from bedside.core.events import AlarmClass, Json
from bedside.core.time import US_PER_S

OFF_S_MAX = 12 * 3600.0
"""An alarm that is off comes on again by itself after one long shift at most (proposal)."""
STANDBY_S = (60.0, 4 * 3600.0)
"""A standby is at least this long, and at most: then it ends by itself, loudly (proposal)."""
REASON_CHARS_MAX = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Somebody's word that holds until `until_us` (microseconds UTC)."""

    by: str
    reason: str
    until_us: int
    since_us: int

    def plain(self) -> dict[str, Json]:
        """For the log."""
        return {"by": self.by, "reason": self.reason, "until_us": self.until_us, "since_us": self.since_us}


def act(by: str, reason: str, seconds: float, now_us: int, *, least_s: float, most_s: float) -> Act:
    """Raises `ValueError` for one without a name, a reason, or a time within the bounds."""
    by, reason = by.strip(), " ".join(reason.split())
    if not by:
        raise ValueError("nobody is named")
    if not 0 < len(reason) <= REASON_CHARS_MAX:
        raise ValueError(f"reason: expected 1 to {REASON_CHARS_MAX} characters")
    if not least_s <= seconds <= most_s:
        raise ValueError(f"seconds: {seconds:g} is not in {least_s:g} to {most_s:g}")
    return Act(by=by, reason=reason, until_us=now_us + round(seconds * US_PER_S), since_us=now_us)


@dataclass(frozen=True, slots=True)
class Quiet:
    """What is switched off now. The empty one switches off nothing."""

    standby: Act | None = None
    off: Mapping[str, Act] = field(default_factory=dict)  # by the kind of the condition

    def holder(self, condition: Condition) -> Act | None:
        """Whose word keeps this condition from signalling; None: nobody's."""
        if lethal(condition):
            return None
        if self.standby is not None:
            return self.standby
        return self.off.get(condition.kind) if condition.can_be_off else None

    def reason(self, condition: Condition) -> str | None:
        """Why it does not signal, in words for the review queue."""
        held = self.holder(condition)
        if held is None:
            return None
        what = "standby" if held is self.standby else "turned off"
        return f"{what} by {held.by}: {held.reason}"

    def after(self, now_us: int) -> tuple[Quiet, list[str]]:
        """What still holds at `now_us`, and which kinds ("standby" among them) have come to their end."""
        over = [kind for kind, one in self.off.items() if now_us >= one.until_us]
        standby = self.standby
        if standby is not None and now_us >= standby.until_us:
            over, standby = [*over, "standby"], None
        if not over:
            return self, []
        return Quiet(standby, {kind: one for kind, one in self.off.items() if kind not in over}), over


def lethal(condition: Condition) -> bool:
    """May nobody keep this from signalling?"""
    return condition.alarm_class is AlarmClass.PHYSIOLOGICAL and not condition.can_be_off


def may_be_off(kind: str, table: ConditionTable) -> Condition:
    """The condition that somebody wants off. Raises `ValueError` with a sentence where nobody may."""
    if kind not in table:
        raise ValueError(f"there is no alarm {kind[:40]!r}")
    condition = table[kind]
    if not condition.can_be_off:
        raise ValueError(f"{kind.replace('_', ' ')}: nobody may turn this alarm off")
    return condition
