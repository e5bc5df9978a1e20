"""What a store holds, from its clear columns alone: counts, sizes and times for each surrogate id; no key needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from bedside.records.database import connect, guarded
from bedside.records.schema import BOX_SERIES, FORM_EVENTS, FORM_WAVE


@dataclass(slots=True)
class OwnerSummary:
    """A patient's share, or the box's."""

    id: str
    streams: int = 0
    samples: int = 0
    events: int = 0
    entries: int = 0
    sealed_bytes: int = 0
    start_us: int | None = None  # of samples and events
    end_us: int | None = None


@dataclass(slots=True)
class Summary:
    """The whole store. `file_bytes` counts the database and its write-ahead log."""

    file_bytes: int
    entries: int = 0
    owners: list[OwnerSummary] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def summarize(path: Path) -> Summary:
    """Count a store, also while a gateway writes it. Raises `StoreError`."""
    parts = [path, path.with_name(path.name + "-wal")]
    summary = Summary(file_bytes=sum(part.stat().st_size for part in parts if part.exists()))
    connection = connect(path, writing=False)
    try:
        with guarded(path, "counting"):
            series = connection.execute("SELECT number, id, owner FROM series ORDER BY number").fetchall()
            owners = {number: OwnerSummary(name) for number, name, owner in series if number == owner}
            owner_of = {number: owners[owner] for number, _, owner in series if owner in owners}
            for number, _, owner in series:
                if number not in (owner, BOX_SERIES) and owner in owners:
                    owners[owner].streams += 1
            rows = connection.execute(
                "SELECT series, form, sum(entries), sum(n), sum(size), min(start_us), max(end_us) FROM ("
                "SELECT series, form, 1 AS entries, n, length(sealed) AS size, start_us, start_us + span_us AS end_us"
                " FROM entry UNION ALL SELECT series, form, count, n, length(sealed), start_us, start_us + span_us"
                " FROM pack) GROUP BY series, form"
            ).fetchall()
    finally:
        connection.close()
    for number, form, count, n, size, start_us, end_us in rows:
        summary.entries += count
        if number in owner_of:
            _count(owner_of[number], form, count, n, size, start_us, end_us)
    summary.owners = list(owners.values())
    return summary


def _count(owner: OwnerSummary, form: int, count: int, n: int, size: int, start_us: int, end_us: int) -> None:
    owner.entries += count
    owner.sealed_bytes += size
    owner.samples += n if form == FORM_WAVE else 0
    owner.events += n if form == FORM_EVENTS else 0
    if form in (FORM_WAVE, FORM_EVENTS):
        owner.start_us = start_us if owner.start_us is None else min(owner.start_us, start_us)
        owner.end_us = end_us if owner.end_us is None else max(owner.end_us, end_us)
