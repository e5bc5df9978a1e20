"""Whether the records are whole: every entry opened, every series counted, the log worked out anew against its heads.

Finds what is altered, moved, taken out of the middle, or cut from the end before the last head. A whole
older copy put in place of the store shows only against a head that was kept elsewhere: `VerifyReport.root`
and `entries` are that head.
"""

from __future__ import annotations

import hmac
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from bedside.core.errors import StoreError
from bedside.core.time import iso_utc
from bedside.records import packing
from bedside.records.deletion import is_deleted
from bedside.records.entries import Entry
from bedside.records.log import SEAL_PURPOSE, Frontier, head_seal
from bedside.records.packs import Pack
from bedside.records.reader import Records
from bedside.records.schema import FORM_EVENTS, FORM_NAMES, FORM_PATIENT, FORM_STREAM, FORM_WAVE
from bedside.records.witness import SignedHead, own_heads

FINDINGS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written. `subject` is a patient's surrogate id, or "box"."""

    problem: str
    position: int | None = None
    subject: str | None = None
    form: str | None = None
    start: str | None = None  # UTC, of what is lost
    end: str | None = None

    def sentence(self) -> str:
        where = [] if self.position is None else [f"entry {self.position}"]
        if self.subject is not None:
            where.append(f"{self.form} of {self.subject}, {self.start} to {self.end}")
        return ": ".join([*where, self.problem])


@dataclass(slots=True)
class VerifyReport:
    """What was checked and found."""

    entries: int = 0
    heads: int = 0
    deleted: int = 0  # entries whose content the box has deleted; their places are proved
    witnessed: int = 0  # heads kept elsewhere that were compared
    root: str = ""
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings

    def add(self, finding: Finding) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)

    def to_dict(self) -> dict[str, object]:
        return {"ok": self.ok, **asdict(self)}


def verify(records: Records, witnessed: Sequence[SignedHead] | None = None) -> VerifyReport:
    """Check everything. `records` comes from `open_reader`; a gateway may be writing meanwhile.

    `witnessed`: heads of this box that were kept elsewhere; against them a rollback or a rewritten log shows, too.
    """
    report = VerifyReport()
    try:
        with records.snapshot() as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            if found != ["ok"]:
                report.add(Finding(f"SQLite's check fails: {'; '.join(found)[:500]}"))
            heads = {size: (root, seal) for size, root, seal in connection.execute("SELECT size, root, seal FROM head")}
            report.heads = len(heads)
            _check_entries(records, heads, _Witnessed(witnessed or (), records, report), report)
    except (StoreError, sqlite3.Error) as error:
        report.add(Finding(f"reading stops after {report.entries} entries: {error}"))
    return report


class _Witnessed:
    """Heads from elsewhere, compared as the tree grows over their sizes."""

    def __init__(self, heads: Sequence[SignedHead], records: Records, report: VerifyReport) -> None:
        ours, foreign = own_heads(heads, records.keys)
        self._report = report
        self._heads = {head.size: head for head in ours}
        report.witnessed = len(ours)
        if foreign:
            report.add(Finding(f"the witness has {len(foreign)} heads in this box's name that it has not signed"))
        if heads and not ours:
            report.add(Finding("none of the witness's heads is of this box key"))
        self._told = False

    def wants(self, size: int) -> bool:
        return size in self._heads

    def compare(self, size: int, root: bytes) -> None:
        head = self._heads.get(size)
        if head is not None and head.root != root.hex() and not self._told:
            self._told = True
            self._report.add(Finding(f"the first {size} entries are not those witnessed at {_iso(head.time_us)}"))

    def end(self, size: int) -> None:
        """All that was witnessed must be there."""
        beyond = [head for at, head in self._heads.items() if at > size]
        if beyond:
            first, last = min(beyond, key=_size), max(beyond, key=_size)
            self._report.add(
                Finding(
                    f"the store was rolled back: it has {size} entries, {last.size} were witnessed at "
                    f"{_iso(last.time_us)}; what was written from {_iso(first.time_us)} or a little before on is gone"
                )
            )


def _size(head: SignedHead) -> int:
    return head.size


def _check_entries(
    records: Records, heads: dict[int, tuple[bytes, bytes]], witnessed: _Witnessed, report: VerifyReport
) -> None:
    keys = records.keys.derive_all(SEAL_PURPOSE)
    frontier = Frontier()
    expected = 0
    seqs: dict[int, int] = {}
    whole = True  # no entry is missing so far: the tree can be compared
    lost: list[Pack] = []  # told once, and not again for each entry that is missing with them

    def tell(pack: Pack, error: StoreError) -> None:
        lost.append(pack)
        seqs[pack.series] = pack.seq + pack.count
        report.add(_located(records, pack, f"{pack.count} entries packed together: {error.__cause__ or error}"))

    for entry in records.entries(lost=tell):
        report.entries += 1
        report.deleted += is_deleted(entry)
        if entry.position != expected:
            if not any(pack.position < entry.position and expected <= pack.last_position for pack in lost):
                report.add(Finding(f"entries {expected} to {entry.position - 1} were taken out"))
            whole = False
        expected = entry.position + 1
        problem = _problem(records, entry)
        if problem is None and entry.seq != seqs.get(entry.series, 0):
            problem = f"{entry.seq - seqs.get(entry.series, 0)} entries of its series before it are missing"
        seqs[entry.series] = entry.seq + 1
        if problem is not None:
            report.add(_located(records, entry, problem))
        if whole:
            whole = _grow(records, frontier, entry, heads, keys, report)
            witnessed.compare(frontier.size, frontier.root() if witnessed.wants(frontier.size) else b"")
    report.root = frontier.root().hex() if whole else ""
    witnessed.end(expected)
    for size in sorted(heads):
        if size > expected:
            report.add(Finding(f"{size - expected} entries were cut off the end: a head counts {size}"))
            break


def _grow(
    records: Records,
    frontier: Frontier,
    entry: Entry,
    heads: dict[int, tuple[bytes, bytes]],
    keys: Sequence[bytes],
    report: VerifyReport,
) -> bool:
    """Add a leaf and compare with the head of that size, if there is one. False: no use to go on comparing."""
    try:
        frontier.append(records.leaf(entry))
    except StoreError:
        return False
    if frontier.size not in heads:
        return True
    root, seal = heads[frontier.size]
    if not any(hmac.compare_digest(seal, head_seal(key, frontier.size, root)) for key in keys):
        report.add(Finding(f"the head of size {frontier.size} was not written with this box's key"))
    if root != frontier.root():
        last = max((size for size in heads if size < frontier.size), default=0)
        report.add(Finding(f"entries {last} to {frontier.size - 1} are not those that the log's head was made of"))
        return False
    return True


def _problem(records: Records, entry: Entry) -> str | None:
    """What is wrong with one entry by itself."""
    if is_deleted(entry):
        return None  # its seal was checked where its place was found
    try:
        plain = records.open_entry(entry)
        if entry.form == FORM_WAVE:
            info = records.stream_info(entry.series)
            if info is None:
                return "the stream's description cannot be read"
            packing.unpack_wave(plain, info, entry.n, entry.first_index, entry.start_us)
        elif entry.form == FORM_EVENTS:
            packing.unpack_events(plain, entry.n)
        elif entry.form == FORM_PATIENT:
            packing.unpack_patient(plain, "")
        elif entry.form == FORM_STREAM:
            packing.unpack_stream(plain, "", "")
        else:
            return f"form {entry.form} is not known"
    except StoreError as error:
        return str(error.__cause__ or error)
    return None


def _located(records: Records, entry: Entry | Pack, problem: str) -> Finding:
    try:
        subject = records.owner_id(entry.series)
    except StoreError:
        subject = "nobody known"
    return Finding(
        problem=problem,
        position=entry.position,
        subject=subject,
        form=FORM_NAMES.get(entry.form, "unknown"),
        start=_iso(entry.start_us),
        end=_iso(entry.end_us),
    )


def _iso(time_us: int) -> str:
    try:
        return iso_utc(time_us)
    except (ValueError, OverflowError, OSError):  # a damaged row may say anything
        return f"{time_us} µs"
