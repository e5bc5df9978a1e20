"""Records as a printed report: which windows are drawn, what the numbers were, what became of each alarm.

A short time is drawn whole; of a longer one, what happened is drawn (alarms and rhythms), and the sheet says what was
left out. `print_report` is one audited act that gives bytes; `export` uses `report_of` for its files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np

from bedside.core.codes import FACTS, Code
from bedside.core.errors import SetupError
from bedside.core.events import Alarm, AlarmClass, AlarmState, Audit, Beat, Event, Numeric, Quality, Rhythm
from bedside.core.ids import IdSource
from bedside.core.ports import Patient
from bedside.core.samples import MISSING, Validity
from bedside.core.time import iso_utc
from bedside.printing.content import (
    AlarmLine,
    BeatSign,
    Lead,
    Number,
    Origin,
    Report,
    Span,
    Stretch,
    Trend,
    TrendPart,
    Who,
    Window,
)
from bedside.printing.page import Paper
from bedside.printing.report import report_pdf
from bedside.records.excerpt import Segment, newest_words, segments_of
from bedside.records.reader import Records

ROW_US = 10_000_000
ROWS_WHOLE_MAX = 60  # of all leads together: what is drawn from end to end
WINDOWS_MAX = 40
BEFORE_US, AFTER_US = 8_000_000, 12_000_000  # around what happened
TREND_PARTS = 200
_EVENTS_MAX = 10_000_000
_RANGE_US_MAX = 48 * 3_600_000_000


def who_of(patient: Patient, *, named: bool) -> Who:
    """The head of the sheet: name and bed only for a reader who may see them."""
    if named:
        return Who(id=patient.id, name=patient.name, bed=patient.bed, simulated=patient.simulated)
    return Who(id=patient.id, name=None, bed=None, simulated=patient.simulated)


def print_report(
    records: Records,
    keep: Callable[[Audit], None],
    ids: IdSource,
    *,
    patient: str,
    start_us: int,
    end_us: int,
    actor: str,
    now_us: int,
    named: bool,
    paper: Paper = Paper.A4,
) -> bytes:
    """A report of `[start_us, end_us)` as PDF. `keep` has made the act durable before the bytes are given out.

    `named`: whether this reader may see who the patient is. Raises `SetupError` (no such patient, range),
    `StoreError` (damage).
    """
    one = next((one for one in records.patients() if one.id == patient), None)
    if one is None:
        raise SetupError(f"no patient {patient} in the records", hint="`bedside records show` lists the ids")
    if not start_us < end_us <= start_us + _RANGE_US_MAX:
        raise SetupError("the range must end after it begins, and be of 48 h at most", hint="print day by day")
    segments: list[Segment] = []
    for info in records.streams(patient):
        segments += segments_of(records.blocks(info.id, start_us, end_us), start_us, end_us)
    events = newest_words(records.events(patient, start_us, end_us, limit=_EVENTS_MAX))
    act = ids.event()
    origin = origin_of(records, events, actor=actor, now_us=now_us, act=act)
    pdf = report_pdf(report_of(who_of(one, named=named), origin, segments, events, start_us, end_us), paper)
    keep(
        Audit(
            id=act,
            patient=patient,
            start_us=now_us,
            actor=actor,
            action="printed",
            detail={
                "start": iso_utc(start_us),
                "end": iso_utc(end_us),
                "named": named,
                "paper": paper.name,
                "sha256": hashlib.sha256(pdf).hexdigest(),
            },
        )
    )
    return pdf


def origin_of(records: Records, events: Sequence[Event], *, actor: str, now_us: int, act: str) -> Origin:
    """What the foot of each sheet says: who printed it when, by which software and models, and the log's head."""
    size, root = records.head()
    models = sorted({one.model[:12] for one in events if isinstance(one, Beat) and one.model})
    return Origin(
        title="Monitoring report",
        printed_us=now_us,
        printed_by=actor,
        software=f"Bedside {version('bedside')}",
        models=tuple(models),
        log_head=f"{size} {root.hex()}",
        act=act,
    )


def report_of(
    who: Who, origin: Origin, segments: Sequence[Segment], events: Sequence[Event], start_us: int, end_us: int
) -> Report:
    """The content of a report. `events`: the newest word of each, in order of time."""
    by_stream: dict[str, list[Segment]] = {}
    for one in segments:
        by_stream.setdefault(one.stream.id, []).append(one)
    leads = [_lead(of_stream, events) for of_stream in by_stream.values()]
    leads.sort(key=lambda lead: not lead.to_scale)  # ECG first
    windows, remarks = _windows(leads, events, start_us, end_us)
    return Report(
        who=who,
        origin=origin,
        start_us=start_us,
        end_us=end_us,
        leads=tuple(leads),
        windows=tuple(windows),
        numbers=tuple(_numbers(events)),
        alarms=tuple(_alarms(events)),
        trends=tuple(_trends(events, start_us, end_us)) if end_us - start_us > 2 * 60_000_000 else (),
        remarks=tuple(remarks),
    )


def _lead(segments: Sequence[Segment], events: Sequence[Event]) -> Lead:
    info = segments[0].stream
    beats, spans = [], []
    for one in events:
        if one.stream not in (None, info.id):
            continue
        if isinstance(one, Beat) and one.stream == info.id:
            beats.append(BeatSign(time_us=one.start_us, symbol=str(one.beat_class) if one.judged else "?"))
        elif isinstance(one, Rhythm) and one.label != "N":
            end_us = one.start_us + ROW_US if one.end_us is None else one.end_us
            spans.append(Span(start_us=one.start_us, end_us=end_us, text=str(one.label), warning=True))
        elif isinstance(one, Quality) and not one.usable and one.end_us is not None:
            text = f"not usable: {one.reason}"
            spans.append(Span(start_us=one.start_us, end_us=one.end_us, text=text, warning=False))
    stretches = [
        Stretch(
            start_us=one.start_us,
            rate_hz=one.rate_hz,
            values=np.where(one.counts == MISSING, np.nan, one.counts * one.stream.unit_per_count),
        )
        for one in segments
    ]
    return Lead(
        label=f"{str(info.kind).upper()} {info.label}",
        unit=info.unit,
        simulated=info.simulated,
        stretches=tuple(stretches),
        beats=tuple(beats),
        spans=tuple(spans),
    )


def _windows(
    leads: Sequence[Lead], events: Sequence[Event], start_us: int, end_us: int
) -> tuple[list[Window], list[str]]:
    if not leads:
        return [], ["No samples were stored in this time."]
    if -(-(end_us - start_us) // ROW_US) * len(leads) <= ROWS_WHOLE_MAX:
        return [Window(start_us=start_us, end_us=end_us, caption="All samples of this time")], []
    moments = [(one.start_us, one.text) for one in events if isinstance(one, Alarm) and _signalled(one)]
    moments += [(one.start_us, f"Rhythm {one.label}") for one in events if isinstance(one, Rhythm) and one.label != "N"]
    moments = sorted(one for one in moments if start_us <= one[0] < end_us)
    windows: list[Window] = []
    left_out = 0
    for at_us, text in moments:
        if windows and at_us < windows[-1].end_us - AFTER_US // 2:
            continue  # it is on the last strip already
        if len(windows) >= WINDOWS_MAX:
            left_out += 1
            continue
        begin_us = max(start_us, at_us - BEFORE_US)
        until_us = min(end_us, at_us + AFTER_US)
        windows.append(Window(start_us=begin_us, end_us=until_us, caption=f"{iso_utc(at_us)[:19]}  {text}"))
    remarks = ["The time is too long to draw whole: strips show alarms and rhythms, the waves between are not printed."]
    if left_out:
        remarks.append(f"{left_out} more moments are not drawn: print a shorter time to see them.")
    if not windows:
        begin_us = max(start_us, end_us - 2 * ROW_US)
        windows = [Window(start_us=begin_us, end_us=end_us, caption="The end of this time; nothing was alarmed in it")]
    return windows, remarks


def _signalled(one: Alarm) -> bool:
    return one.alarm_class is AlarmClass.PHYSIOLOGICAL


def _alarms(events: Sequence[Event]) -> list[AlarmLine]:
    words: dict[str, list[Alarm]] = {}
    for one in events:
        if isinstance(one, Alarm):
            words.setdefault(one.alarm, []).append(one)
    lines = []
    for changes in words.values():
        last = max(changes, key=lambda one: one.changed_us)
        acknowledged = next((one for one in changes if one.by is not None), None)
        fate = f"{last.state}"
        if acknowledged is not None:
            fate += f", acknowledged by {acknowledged.by} at {iso_utc(acknowledged.changed_us)[11:19]}"
        elif last.state is not AlarmState.ENDED:
            fate += ", not acknowledged"
        lines.append(
            AlarmLine(
                start_us=min(one.start_us for one in changes),
                end_us=last.end_us,
                priority=str(last.priority),
                technical=last.alarm_class is AlarmClass.TECHNICAL,
                text=last.text,
                fate=fate,
            )
        )
    return sorted(lines, key=lambda line: line.start_us)


def _by_code(events: Sequence[Event]) -> dict[Code, list[Numeric]]:
    found: dict[Code, list[Numeric]] = {}
    for one in events:
        if isinstance(one, Numeric) and one.code is not Code.BATTERY:
            found.setdefault(one.code, []).append(one)
    return {code: found[code] for code in FACTS if code in found}


def _shown(one: Numeric) -> bool:
    return one.value is not None and one.validity is not Validity.REJECTED


def _numbers(events: Sequence[Event]) -> list[Number]:
    lines = []
    for code, series in _by_code(events).items():
        values = [float(one.value) for one in series if one.value is not None and _shown(one)]
        last = max(series, key=lambda one: one.start_us)
        lines.append(
            Number(
                label=FACTS[code].label,
                unit=FACTS[code].unit,
                decimals=FACTS[code].decimals,
                newest=last.value if _shown(last) else None,
                newest_us=last.start_us,
                low=min(values, default=None),
                high=max(values, default=None),
                mean=sum(values) / len(values) if values else None,
                count=len(values),
                withheld=len(series) - len(values),
                note=next((one.reason for one in reversed(series) if one.reason and not _shown(one)), ""),
            )
        )
    return lines


def _trends(events: Sequence[Event], start_us: int, end_us: int) -> list[Trend]:
    step_us = max(1_000_000, -(-(end_us - start_us) // TREND_PARTS))
    trends = []
    for code, series in _by_code(events).items():
        buckets: dict[int, list[float]] = {}
        for one in series:
            if one.value is not None and _shown(one):
                buckets.setdefault((one.start_us - start_us) // step_us, []).append(float(one.value))
        if len(buckets) < 3:
            continue  # a table says that better
        parts = tuple(
            TrendPart(
                start_us=start_us + at * step_us,
                end_us=start_us + (at + 1) * step_us,
                low=min(values),
                high=max(values),
                mean=sum(values) / len(values),
            )
            for at, values in sorted(buckets.items())
        )
        facts = FACTS[code]
        trends.append(Trend(label=facts.label, unit=facts.unit, decimals=facts.decimals, parts=parts))
    return trends
