"""Records out of the box: a patient and a time range as WFDB, EDF+, FHIR, CSV or PDF; each act is audited first.

Files name the patient by her surrogate id alone, but for a PDF that was asked for with her name. Missing samples
stay missing: the value that WFDB reserves for them; in EDF, which has none, the digital minimum and an annotation
"gap"; in CSV nothing.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from bedside.core.errors import SetupError
from bedside.core.events import Alarm, Audit, Beat, Event, Evidence, Numeric, Quality, Rhythm
from bedside.core.ids import IdSource
from bedside.core.samples import MISSING
from bedside.core.sealing import SealingKey
from bedside.core.time import iso_utc
from bedside.records.excerpt import Segment, names_of, newest_words, segments_of
from bedside.records.parcel import NAME as PARCEL
from bedside.records.parcel import in_memory, seal_folder
from bedside.records.reader import Records

FORMATS = ("wfdb", "edf", "fhir", "csv", "pdf")
RANGE_US_MAX = 48 * 3_600_000_000
_EVENTS_MAX = 10_000_000
_EDF_MIN, _EDF_MAX = -32768, 32767
Keep: TypeAlias = Callable[[Audit], None]
Writer: TypeAlias = Callable[[Sequence[Segment], Sequence[Event], Path], list[Path]]


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    files: tuple[Path, ...]
    samples: int
    events: int


def export(
    records: Records,
    keep: Keep,
    ids: IdSource,
    *,
    patient: str,
    start_us: int,
    end_us: int,
    form: str,
    folder: Path,
    actor: str,
    now_us: int,
    named: bool = False,
    paper: str = "A4",
    recipient: SealingKey | None = None,
) -> Exported:
    """Write `[start_us, end_us)` of a patient into `folder`, which must be empty or new.

    `named` and `paper` (A4, LETTER) are for PDF alone. `recipient`: the files go into one parcel that only its
    key opens, and touch no disk in the clear. `keep` makes an audit event durable; it is called before
    the first file is made, and when all are there. Raises `SetupError` (nothing there, no such patient, folder
    not empty), `StoreError` (damage).
    """
    _check(records, patient, start_us, end_us, form, folder)
    segments: list[Segment] = []
    for info in records.streams(patient):
        segments += segments_of(records.blocks(info.id, start_us, end_us), start_us, end_us)
    events = newest_words(records.events(patient, start_us, end_us, limit=_EVENTS_MAX))
    samples = sum(int(np.count_nonzero(one.counts != MISSING)) for one in segments)
    if not segments and (form in ("wfdb", "edf") or not events):
        raise SetupError(
            f"patient {patient} has no samples from {iso_utc(start_us)} to {iso_utc(end_us)}",
            hint="`bedside records show` tells from when to when there are records; nothing was written",
        )
    detail: Evidence = {"format": form, "start": iso_utc(start_us), "end": iso_utc(end_us), "samples": samples}
    if form == "pdf":
        detail |= {"named": named, "paper": paper}
    if recipient is not None:
        detail |= {"sealed_to": recipient.id.hex()}
    act = Audit(id=ids.event(), patient=patient, start_us=now_us, actor=actor, action="export", detail=detail)
    writer = _WRITERS.get(form) or _pdf_writer(records, act, start_us, end_us, named=named, paper=paper)
    keep(act)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if recipient is None:
            files = writer(segments, events, folder)
        else:
            with in_memory() as place:
                writer(segments, events, place)
                files = [folder / PARCEL]
                files[0].write_bytes(seal_folder(place, recipient))
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    except OSError as error:
        raise SetupError(
            f"{folder} cannot be written: {error.strerror or error}", hint="choose another folder with --out DIR"
        ) from error
    done = Audit(
        id=ids.event(),
        patient=patient,
        start_us=now_us,
        actor=actor,
        action="exported",
        detail={**detail, "files": {**hashes}, "act": act.id},
    )
    keep(done)
    return Exported(tuple(files), samples, len(events))


def _check(records: Records, patient: str, start_us: int, end_us: int, form: str, folder: Path) -> None:
    if patient not in {one.id for one in records.patients()}:
        raise SetupError(f"no patient {patient} in the records", hint="`bedside records show` lists the ids")
    if form not in FORMATS:
        raise SetupError(f"format {form!r} is not known", hint=f"one of {', '.join(FORMATS)}")
    if not start_us < end_us <= start_us + RANGE_US_MAX:
        raise SetupError("the range must end after it begins, and be of 48 h at most", hint="export day by day")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SetupError(f"{folder} is there already and not empty", hint="name a new folder with --out DIR")


def _write_wfdb(segments: Sequence[Segment], events: Sequence[Event], folder: Path) -> list[Path]:
    import wfdb

    for name, one in zip(names_of(segments), segments, strict=True):
        seen = one.counts[one.counts != MISSING]
        wide = bool(seen.size) and bool(np.abs(seen.astype(np.int64)).max() > _EDF_MAX)
        lowest = MISSING if wide else _EDF_MIN  # what WFDB reserves for a missing sample of that format
        wfdb.wrsamp(
            name,
            fs=one.rate_hz,
            units=[one.stream.unit],
            sig_name=[one.stream.label],
            d_signal=np.where(one.counts == MISSING, lowest, one.counts).astype(np.int64)[:, None],
            fmt=["32" if wide else "16"],
            adc_gain=[1 / one.stream.unit_per_count],
            baseline=[0],
            base_datetime=datetime.fromtimestamp(one.start_us / 1e6, UTC).replace(tzinfo=None),
            comments=_remarks(one),
            write_dir=str(folder),
        )
        notes = sorted(_annotations(one, events), key=lambda note: note[0])
        if notes:
            wfdb.wrann(
                name,
                "atr",
                sample=np.array([place for place, _, _, _ in notes]),
                symbol=[symbol for _, symbol, _, _ in notes],
                aux_note=[aux for _, _, aux, _ in notes],
                fs=one.rate_hz,
                write_dir=str(folder),
            )
    return sorted(folder.iterdir())


def _remarks(one: Segment) -> list[str]:
    what = "simulated" if one.stream.simulated else "recorded"
    return [f"patient {one.stream.patient}", f"stream {one.stream.id} ({what}), times in UTC"]


def _annotations(one: Segment, events: Sequence[Event]) -> list[tuple[int, str, str, float | None]]:
    """Place, WFDB symbol, text and duration (s), of what was found in this stream."""
    notes: list[tuple[int, str, str, float | None]] = []
    for event in events:
        lasts_s = None if event.end_us is None else max(0.0, (event.end_us - event.start_us) / 1e6)
        if isinstance(event, Beat | Rhythm | Quality):
            place = one.place_of(event.index) if event.stream in (None, one.stream.id) else None
        elif isinstance(event, Alarm) and event.start_us >= one.start_us:
            place = round((event.start_us - one.start_us) * one.rate_hz / 1e6)
        else:
            continue
        if place is None or place >= one.counts.size:
            continue
        if isinstance(event, Beat):
            notes.append((place, str(event.beat_class), "", None))
        elif isinstance(event, Rhythm):
            notes.append((place, "+", f"({event.label}", lasts_s))
        elif isinstance(event, Quality):
            notes.append((place, "~", "usable" if event.usable else event.reason or "not usable", lasts_s))
        else:
            notes.append((place, '"', f"alarm {event.kind} {event.state}", lasts_s))
    return notes


def _write_edf(segments: Sequence[Segment], events: Sequence[Event], folder: Path) -> list[Path]:
    import edfio

    files: list[Path] = []
    for name, one in zip(names_of(segments), segments, strict=True):
        if one.rate_hz != round(one.rate_hz):
            raise SetupError(f"{name}: EDF cannot hold {one.rate_hz:g} Hz in whole seconds", hint="use wfdb or csv")
        padded = np.full(-(-one.counts.size // round(one.rate_hz)) * round(one.rate_hz), MISSING, np.int32)
        padded[: one.counts.size] = one.counts
        seen = padded[padded != MISSING].astype(np.int64)
        if seen.size and (seen.min() <= _EDF_MIN or seen.max() > _EDF_MAX):
            raise SetupError(f"{name}: EDF holds 16 bits, the samples have more", hint="use wfdb or csv")
        digital = np.where(padded == MISSING, _EDF_MIN, padded).astype(np.int16)
        signal = edfio.EdfSignal.from_digital(
            digital,
            one.rate_hz,
            label=_ascii(f"{str(one.stream.kind).upper()} {one.stream.label}", 16),
            physical_dimension=_ascii(one.stream.unit, 8),
            physical_range=(_short(_EDF_MIN * one.stream.unit_per_count), _short(_EDF_MAX * one.stream.unit_per_count)),
            digital_range=(_EDF_MIN, _EDF_MAX),
        )
        began = datetime.fromtimestamp(one.start_us / 1e6, UTC)
        notes = [edfio.EdfAnnotation(at / one.rate_hz, n / one.rate_hz, "gap") for at, n in one.gaps()]
        for place, symbol, aux, lasts_s in _annotations(one, events):
            notes.append(edfio.EdfAnnotation(place / one.rate_hz, lasts_s, aux or f"beat {symbol}"))
        edf = edfio.Edf(
            [signal],
            patient=edfio.Patient(code=one.stream.patient),
            recording=edfio.Recording(startdate=began.date(), equipment_code="Bedside"),
            starttime=began.time().replace(tzinfo=None),
            data_record_duration=1,
            annotations=sorted(notes),
        )
        files.append(folder / f"{name}.edf")
        edf.write(files[-1])
    return files


def _short(value: float) -> float:
    """As near as the 8 characters of an EDF header say it."""
    return next(short for digits in range(8, 0, -1) if len(str(short := float(f"{value:.{digits}g}"))) <= 8)


def _ascii(text: str, length: int) -> str:
    return text.encode("ascii", "replace").decode()[:length]


def _write_fhir(segments: Sequence[Segment], events: Sequence[Event], folder: Path) -> list[Path]:
    from bedside.records.fhir import bundle_json

    known = [one.stream.patient for one in segments] + [one.patient for one in events if one.patient is not None]
    made_us = max([one.end_us for one in segments] + [one.start_us for one in events])
    path = folder / "bundle.json"
    path.write_text(bundle_json(known[0], segments, events, made_us=made_us), encoding="utf-8")
    return [path]


def _write_csv(segments: Sequence[Segment], events: Sequence[Event], folder: Path) -> list[Path]:
    files: list[Path] = []

    def table(name: str, head: Sequence[str], rows: Any) -> None:
        files.append(folder / f"{name}.csv")
        with files[-1].open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(head)
            writer.writerows(rows)

    for name, one in zip(names_of(segments), segments, strict=True):
        unit = one.stream.unit_per_count
        rows = (
            (iso_utc(one.start_us + round(at * 1e6 / one.rate_hz)), "" if count == MISSING else repr(count * unit))
            for at, count in enumerate(one.counts.tolist())
        )
        table(name, ("time_utc", f"value_{one.stream.unit}"), rows)
    numerics = [one for one in events if isinstance(one, Numeric)]
    table(
        "numerics",
        ("time_utc", "code", "value", "unit", "validity", "reason", "source"),
        (
            (iso_utc(n.start_us), n.code, "" if n.value is None else n.value, n.unit, n.validity, n.reason, n.source)
            for n in numerics
        ),
    )
    table("events", ("time_utc", "end_utc", "type", "what", "stream", "id"), map(_event_row, events))
    return files


def _event_row(event: Event) -> tuple[str, ...]:
    words = (getattr(event, name, None) for name in ("beat_class", "label", "kind", "action", "code"))
    what = next((str(word) for word in words if word is not None), "")
    end = "" if event.end_us is None else iso_utc(event.end_us)
    return iso_utc(event.start_us), end, event.type, what, event.stream or "", event.id


def _pdf_writer(records: Records, act: Audit, start_us: int, end_us: int, *, named: bool, paper: str) -> Writer:
    from bedside.printing.page import Paper
    from bedside.printing.report import report_pdf
    from bedside.records.paper import origin_of, report_of, who_of

    if paper not in Paper.__members__:
        raise SetupError(f"paper {paper!r} is not known", hint=f"one of {', '.join(Paper.__members__)}")
    patient = next(one for one in records.patients() if one.id == act.patient)

    def write(segments: Sequence[Segment], events: Sequence[Event], folder: Path) -> list[Path]:
        origin = origin_of(records, events, actor=act.actor, now_us=act.start_us, act=act.id)
        report = report_of(who_of(patient, named=named), origin, segments, events, start_us, end_us)
        path = folder / "report.pdf"
        path.write_bytes(report_pdf(report, Paper[paper]))
        return [path]

    return write


_WRITERS: dict[str, Writer] = {
    "wfdb": _write_wfdb,
    "edf": _write_edf,
    "fhir": _write_fhir,
    "csv": _write_csv,
}
