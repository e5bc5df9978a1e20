"""The store against a model of lists: whatever is written comes back, also after it is closed or copied mid-life."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.records.records_world import (
    T0_US,
    Model,
    alarm,
    audit,
    beat,
    block,
    numeric,
    opened,
    patient,
    rhythm,
    same_blocks,
    second,
    stream,
)

from bedside.core.errors import SetupError, StoreError
from bedside.core.events import AlarmState, Event
from bedside.core.ports import Batch, Patient
from bedside.core.samples import MISSING, Block, StreamInfo
from bedside.records import draft, store
from bedside.records.reader import NAME_LOST
from bedside.records.store import RecordStore, open_reader
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-005")

ADA, BO = patient("Ada"), patient("Bo", "Bed 5")
LEADS = (stream(ADA, "I"), stream(ADA, "II", 250.0), stream(BO, "I"))
TIMES = st.integers(0, 60_000_000).map(lambda after: T0_US + after)
FAR = st.sampled_from([T0_US - 86_400_000_000, T0_US + 3_600_000_000, 0])
COUNTS = st.lists(st.one_of(st.integers(-3000, 3000), st.just(MISSING)), max_size=40)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    info = draw(st.sampled_from(LEADS))
    made = block(info, draw(st.integers(0, 10_000)), draw(COUNTS), draw(st.one_of(TIMES, FAR)))
    rate_hz = draw(st.sampled_from([info.rate_hz, 129.87]))
    return replace(made, rate_hz=rate_hz, uncertainty_us=draw(st.sampled_from([0, 0, 1500])))


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(numeric, st.sampled_from([ADA, BO]), st.one_of(TIMES, FAR), st.floats(20, 300)),
    st.builds(beat, st.just(ADA), st.just(LEADS[0]), TIMES),
    st.builds(rhythm, st.just(BO), st.one_of(TIMES, FAR)),
    st.builds(
        alarm,
        st.sampled_from([ADA, BO, None]),
        st.one_of(TIMES, FAR),
        st.sampled_from([AlarmState.ACTIVE, AlarmState.ACKNOWLEDGED, AlarmState.ENDED]),
        st.sampled_from("abc"),
    ),
    st.builds(audit, TIMES),
)


@st.composite
def chained(draw: st.DrawFn) -> list[Block]:
    """Blocks of which some go on where the one before ended, as most do."""
    made: list[Block] = []
    for one in draw(st.lists(blocks(), max_size=6)):
        go_on = draw(st.booleans())
        if made and go_on:
            last = made[-1]
            after_us = last.end_us + draw(st.sampled_from([0, 0, 3, -2]))
            one = replace(one, stream=last.stream, first_index=last.first_index + last.counts.size, start_us=after_us)
        made.append(one)
    return made


BATCHES = st.builds(Batch, chained(), st.lists(EVENTS, max_size=6))
RANGES = st.tuples(st.one_of(TIMES, FAR), st.one_of(TIMES, FAR))


def check(kept: RecordStore, model: Model, ranges: list[tuple[int, int]], limit: int) -> None:
    for start_us, end_us in [*ranges, (-(2**63), 2**63 - 1)]:
        for info in LEADS:
            assert same_blocks(kept.blocks(info.id, start_us, end_us), model.blocks(info.id, start_us, end_us))
        for who in (ADA.id, BO.id, None):
            for types in ((), ("alarm",), ("beat", "numeric"), ("unheard_of",)):
                assert kept.events(who, start_us, end_us, types, limit) == model.events(
                    who, start_us, end_us, types, limit
                )
    for info in LEADS:
        assert kept.next_index(info.id) == model.next_index(info.id)
    for who in (ADA.id, BO.id):
        assert kept.newest_us(who) == model.newest_us(who)
    for who in (ADA.id, BO.id, None):
        assert {one.alarm: one for one in kept.open_alarms(who)} == model.open_alarms(who)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(st.one_of(BATCHES, st.sampled_from(["close", "crash"])), max_size=10),
    ranges=st.lists(RANGES, max_size=3),
    limit=st.sampled_from([1, 3, 1000]),
    every=st.sampled_from([1, 3, 64]),
)
def test_the_store_does_what_the_model_does(
    steps: list[Batch | str], ranges: list[tuple[int, int]], limit: int, every: int
) -> None:
    parent = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=parent) as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "CHECKPOINT_BATCHES", every)
        patched.setattr(draft, "EVENTS_BYTES_MAX", 600)
        kept, model = opened(Path(folder)), Model()
        kept.put_patient(ADA)
        kept.put_patient(BO)
        for step in steps:
            if isinstance(step, Batch):
                kept.write(step)
                model.write(step)
                continue
            if step == "crash":  # what a killed process leaves: no checkpoint, no mark
                kept._connection.close()
                kept._folder_lock.release()
            else:
                kept.close()
            kept = opened(Path(folder))
            assert kept.previous_shutdown_clean is (step == "close")
            assert kept.opening_report.damage == ()
        check(kept, model, ranges, limit)
        assert list(kept.patients()) == [ADA, BO]
        kept.close()


def test_samples_keep_their_cut_across_a_gap_and_a_long_block(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.put_patient(ADA)
    info = LEADS[0]
    long = block(info, 1000, np.arange(130 * 100, dtype=np.int32))  # 100 s: found through its own index
    written = [block(info, 0, [1, 2, MISSING]), block(info, 500, [7]), long]
    kept.write(Batch(written, []))
    assert same_blocks(kept.blocks(info.id, T0_US, T0_US + 10**9), written)
    late = long.start_us + 95_000_000
    assert same_blocks(kept.blocks(info.id, late, late + 1), [long])
    assert kept.blocks(info.id, T0_US + 23_077, T0_US + 3_000_000) == []  # between two blocks
    assert kept.next_index(info.id) == 1000 + 130 * 100
    kept.close()


def test_a_batch_of_one_second_becomes_one_entry_a_stream_and_one_for_the_events_of_a_patient(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.put_patient(ADA)
    for info in LEADS[:2]:
        kept.put_stream(info)
    before = kept._state.frontier.size
    quarters = [block(info, 32 * at, [at] * 32) for at in range(4) for info in LEADS[:2]]
    kept.write(Batch(quarters, [numeric(ADA, T0_US + at) for at in range(5)]))
    assert kept._state.frontier.size - before == 3
    kept.close()


def test_patients_and_streams_can_change_and_older_samples_keep_their_scale(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.put_patient(ADA)
    kept.put_patient(BO)
    info = LEADS[0]
    kept.put_stream(info)
    size = kept._state.frontier.size
    kept.put_stream(info)
    kept.put_patient(ADA)
    assert kept._state.frontier.size == size  # the same again is no change
    kept.write(Batch([block(info, 0, [1, 2])], []))
    finer = replace(info, unit_per_count=0.0005)
    moved = replace(ADA, bed="Bed 9")
    kept.put_patient(moved)
    kept.write(Batch([block(finer, 2, [3, 4])], []))
    for _ in range(2):
        assert list(kept.patients()) == [moved, BO]
        assert list(kept.streams(ADA.id)) == [finer]
        first, last = kept.blocks(info.id, T0_US, T0_US + 10**6)
        assert (first.stream, last.stream) == (info, finer)
        kept.close()
        kept = opened(tmp_path)
    kept.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: Batch([], [numeric(patient(), T0_US)]),
        lambda: Batch([second(stream(patient()), 0)], []),
        lambda: Batch([block(replace(LEADS[0], patient=BO.id), 0, [1])], []),
        lambda: Batch([block(LEADS[0], 0, [1], start_us=2**63 - 1)], []),
        lambda: Batch([], [replace(audit(T0_US), detail={"x": object()})]),  # type: ignore[dict-item]
    ],
)
def test_a_batch_that_cannot_be_kept_leaves_nothing_behind(tmp_path: Path, spoil: Callable[[], Batch]) -> None:
    kept, model = opened(tmp_path), Model()
    for one in (ADA, BO):
        kept.put_patient(one)
    good = Batch([second(info, 0) for info in LEADS], [numeric(ADA, T0_US)])
    kept.write(good)
    model.write(good)
    bad = spoil()
    with pytest.raises(StoreError):
        kept.write(Batch([second(LEADS[0], 1), *bad.blocks], [numeric(BO, T0_US), *bad.events]))
    check(kept, model, [], 10)
    kept.write(Batch([second(LEADS[0], 1)], []))
    model.write(Batch([second(LEADS[0], 1)], []))
    check(kept, model, [], 10)
    kept.close()


def test_a_reader_looks_on_beside_the_writer(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.put_patient(ADA)
    kept.write(Batch([second(LEADS[0], 0)], [numeric(ADA, T0_US)]))
    reader = open_reader(Home(tmp_path))
    assert same_blocks(reader.blocks(LEADS[0].id, T0_US, T0_US + 10**7), [second(LEADS[0], 0)])
    kept.write(Batch([], [numeric(ADA, T0_US + 1)]))
    assert len(reader.events(ADA.id, T0_US, T0_US + 10)) == 2
    reader.close()
    kept.close()


def test_the_folder_is_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    kept = opened(home)
    kept.put_patient(ADA)
    modes = {path.name: path.stat().st_mode & 0o777 for path in home.rglob("*") if path.is_file()}
    assert modes.pop("VERSION") == 0o600
    assert {"store.db", "store.db-wal", "store.db-shm", "box.key", "store.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}
    kept.close()


def test_a_newer_layout_or_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / "VERSION").write_text("2\n")
    with pytest.raises(SetupError, match="newer Bedside"):
        opened(tmp_path)
    (tmp_path / "VERSION").write_text("1\n")
    kept = opened(tmp_path)
    kept._connection.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('records', '0099_later', '')"
    )
    kept.close()
    with pytest.raises(SetupError, match="0099_later"):
        opened(tmp_path)


def test_a_closed_store_says_so_and_closes_twice(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.close()
    kept.close()
    with pytest.raises(StoreError, match="closed"):
        kept.write(Batch([], [audit(T0_US)]))
    opened(tmp_path).close()


def test_a_patient_whose_key_is_destroyed_is_unreadable_and_the_others_are_not(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    for one in (ADA, BO):
        kept.put_patient(one)
    kept.write(Batch([second(info, 0) for info in LEADS], [numeric(ADA, T0_US), numeric(BO, T0_US)]))
    kept.close()
    for path in (tmp_path / "keys" / "data" / ADA.id).iterdir():
        path.unlink()
    kept = opened(tmp_path)
    assert kept.opening_report.damage
    assert ADA.id not in " ".join(kept.opening_report.damage)
    lost, whole = kept.patients()
    assert lost == Patient(id=ADA.id, name=NAME_LOST, bed="", simulated=False)
    assert whole == BO
    with pytest.raises(StoreError):
        kept.blocks(LEADS[0].id, T0_US, T0_US + 10**7)
    with pytest.raises(StoreError):
        kept.events(ADA.id, T0_US, T0_US + 10**7)
    assert same_blocks(kept.blocks(LEADS[2].id, T0_US, T0_US + 10**7), [second(LEADS[2], 0)])
    kept.put_patient(ADA)  # and her records go on under a new key
    fresh: StreamInfo = replace(LEADS[0], id="f" * 32)
    kept.write(Batch([second(fresh, 1)], []))
    assert same_blocks(kept.blocks(fresh.id, T0_US, T0_US + 10**7), [second(fresh, 1)])
    assert list(kept.patients()) == [ADA, BO]
    kept.close()
