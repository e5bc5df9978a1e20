"""Nothing of a patient is in any byte on the disk; the same search finds all of it where nothing is sealed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import cbor2
import numpy as np
import pytest
from tests.records.records_world import T0_US, alarm, beat, block, ids, numeric, opened, rhythm, stream

from bedside.core import events as event_codec
from bedside.core.events import AlarmState, RhythmLabel
from bedside.core.ports import Batch, Patient
from bedside.core.samples import Counts
from bedside.records.sealing import OVERHEAD_BYTES, Opener, Sealer

pytestmark = pytest.mark.requirement("REC-001")

NAME, BED, LABEL = "Zacharias Kanarienvogel", "Bett 4711 am Fenster", "MLII-KANARIE"
PATTERN = np.array([1234, -1234, 31000, 77, -29876, 4321, 111, -5], np.int32)
ADA = Patient(id=ids.thing(), name=NAME, bed=BED, simulated=False)
CANARIES = {
    "name": NAME.encode(),
    "bed": BED.encode(),
    "lead": LABEL.encode(),
    "rhythm": b"AFIB",
    "alarm kind": b"extreme_bradycardia",
    "alarm text": b"Heart rate far too low",
    "priority": b"high",
    "event type": b"rhythm",
    "code": b"MDC_ECG_HEART_RATE",
    "int32 little-endian": PATTERN.astype("<i4").tobytes(),
    "int32 big-endian": PATTERN.astype(">i4").tobytes(),
    "int16 little-endian": PATTERN.astype("<i2").tobytes(),
    "int16 big-endian": PATTERN.astype(">i2").tobytes(),
}


def live(folder: Path) -> tuple[set[str], str]:
    """Live a little in a folder; the canaries in any file of it, searched while it is in use and after it is closed."""
    store = opened(folder)
    store.put_patient(ADA)
    info = stream(ADA, LABEL)
    for at in range(70):  # past a checkpoint, whose open alarms are on disk too
        at_us = T0_US + at * 1_000_000
        counts = np.tile(PATTERN, 16)
        events = [numeric(ADA, at_us), beat(ADA, info, at_us), rhythm(ADA, at_us, RhythmLabel.AF)]
        events_of_alarm = [
            alarm(ADA, at_us, AlarmState.ACTIVE, f"alarm {at}"),
            alarm(None, at_us, AlarmState.ACTIVE, "b"),
        ]
        store.write(Batch([block(info, at * 128, counts, at_us)], [*events, *events_of_alarm]))
    assert len(store.events(ADA.id, T0_US, T0_US + 10**9)) == 280
    found = search(folder)
    open_files = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    ours = {path.name for path in open_files if path.is_relative_to(folder)}
    assert ours <= {"store.db", "store.db-wal", "store.db-shm", "store.lock"}
    store.close()
    return found | search(folder), repr(store.keys) + repr(store.opening_report)


def search(folder: Path) -> set[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"store.db", "box.key", "VERSION"} <= {path.name for path in files}
    everything = b"\x00".join([os.fsencode(path) + b"\x00" + path.read_bytes() for path in files])
    return {what for what, bytes_ in CANARIES.items() if bytes_ in everything}


def test_no_byte_on_the_disk_or_in_the_log_tells_anything(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        found, said = live(tmp_path)
    assert found == set()
    assert not any(text in said + caplog.text for text in (NAME, BED, LABEL))


def test_the_same_search_finds_everything_where_nothing_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seal(self: Sealer, plaintext: bytes, binding: bytes) -> bytes:
        return bytes(OVERHEAD_BYTES) + plaintext

    def open_(self: Opener, sealed: bytes, binding: bytes) -> bytes:
        return sealed[OVERHEAD_BYTES:]

    def encode(counts: Counts) -> bytes:
        return b"".join(counts.astype(kind).tobytes() for kind in ("<i4", ">i4", "<i2", ">i2"))

    def pack_events(encoded: Iterable[bytes], types: Iterable[str]) -> bytes:
        return b"".join(encoded)

    def unpack_events(data: bytes, n_events: int, wanted: int = 0) -> list[dict[str, object]]:
        decoder = cbor2.CBORDecoder(BytesIO(data))
        return [decoder.decode() for _ in range(n_events)]

    monkeypatch.setattr(Sealer, "seal", seal)
    monkeypatch.setattr(Opener, "open", open_)
    monkeypatch.setattr("bedside.records.codec.encode", encode)
    monkeypatch.setattr("bedside.records.packing.pack_events", pack_events)
    monkeypatch.setattr("bedside.records.packing.unpack_events", unpack_events)
    found, _ = live(tmp_path)
    assert found == set(CANARIES)
    assert event_codec.to_cbor(rhythm(ADA, T0_US, RhythmLabel.AF)).count(b"AFIB") == 1
