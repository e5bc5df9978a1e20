"""The audit trail as a table: who saw, changed, acknowledged, exported, printed or erased what, and when.

It is read from the log itself (audit events of the box and of patients, and the acknowledgements in alarms), so what an
administrator alters in it shows as any altered record does. Pure but for the records that it reads.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from bedside.core.errors import SetupError
from bedside.core.events import Alarm, Audit, Event
from bedside.core.time import iso_utc
from bedside.records.reader import Records

LINES_MAX = 100_000
BOX = "box"


@dataclass(frozen=True, slots=True)
class Act:
    """One line. `patient` is a surrogate id, or "box"."""

    time_us: int
    patient: str
    actor: str
    action: str
    detail: str  # JSON

    def row(self) -> tuple[str, ...]:
        return iso_utc(self.time_us), self.patient, self.actor, self.action, self.detail


def trail(
    records: Records,
    start_us: int,
    end_us: int,
    *,
    patient: str | None = None,
    actor: str | None = None,
    action: str | None = None,
) -> list[Act]:
    """The newest `LINES_MAX` acts of a time, oldest first. `patient`: hers alone (or "box"); others: exactly.

    Raises `SetupError` for a patient that is not known, `StoreError` for damage.
    """
    known = [one.id for one in records.patients()]
    if patient not in (None, BOX, *known):
        raise SetupError(f"no patient {patient} in the records", hint="`bedside records show` lists the ids")
    owners: list[str | None] = [None, *known] if patient is None else [None if patient == BOX else patient]
    acts: list[Act] = []
    for owner in owners:
        for event in records.events(owner, start_us, end_us, ("audit", "alarm"), LINES_MAX):
            act = _act(event, owner or BOX)
            if act is not None and actor in (None, act.actor) and action in (None, act.action):
                acts.append(act)
    return sorted(acts, key=lambda act: act.time_us)[-LINES_MAX:]


def _act(event: Event, owner: str) -> Act | None:
    if isinstance(event, Audit):
        return Act(event.start_us, owner, event.actor, event.action, json.dumps(event.detail, sort_keys=True))
    if isinstance(event, Alarm) and event.by is not None and event.state == "acknowledged":
        detail = json.dumps({"alarm": event.alarm, "kind": event.kind}, sort_keys=True)
        return Act(event.changed_us, owner, event.by, "acknowledged an alarm", detail)
    return None


def as_csv(acts: Sequence[Act]) -> str:
    """With a head; fields that a spreadsheet would run as a formula are quoted by an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("time_utc", "patient", "actor", "action", "detail"))
    writer.writerows(
        tuple(f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in act.row()) for act in acts
    )
    return out.getvalue()
