"""The recorder keeps what the store refused, in order, within bounds, and says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.core.codes import StreamKind
from bedside.core.errors import RejectedError, StoreError
from bedside.core.events import Alarm, Audit, Event
from bedside.core.ports import Batch, Patient, TrendPart
from bedside.core.samples import Block, StreamInfo
from bedside.core.time import InlineWorker
from bedside.ward import recorder as room
from bedside.ward.recorder import Recorder, RecorderHealth

pytestmark = pytest.mark.requirement("REC-002")

T = TypeVar("T")
LEAD = StreamInfo(
    id="s", patient="p", wearable="w", kind=StreamKind.ECG, label="I", rate_hz=100.0, unit="mV", unit_per_count=0.001,
    simulated=True,
)  # fmt: skip


class MemoryStore:
    """A store that refuses as it is told to."""

    def __init__(self) -> None:
        self.refuse = False
        self.kept: list[Block | Event] = []

    def write(self, batch: Batch) -> None:
        if self.refuse:
            raise StoreError("disk full")
        if any(event.start_us < 0 for event in batch.events):
            raise RejectedError("before the beginning")
        self.kept += [*batch.blocks, *batch.events]

    def put_patient(self, patient: Patient) -> None: ...
    def patients(self) -> Sequence[Patient]:
        return ()

    def put_stream(self, info: StreamInfo) -> None: ...
    def streams(self, patient: str) -> Sequence[StreamInfo]:
        return ()

    def blocks(self, stream: str, start_us: int, end_us: int) -> Iterable[Block]:
        return ()

    def events(
        self, patient: str | None, start_us: int, end_us: int, types: Sequence[str] = (), limit: int = 10_000
    ) -> list[Event]:
        return []

    def trend(self, patient: str, code: str, start_us: int, end_us: int, buckets: int) -> Sequence[TrendPart]:
        return []

    def newest_us(self, patient: str) -> int | None:
        return None

    def next_index(self, stream: str) -> int:
        return 0

    def open_alarms(self, patient: str | None) -> list[Alarm]:
        return []

    def close(self) -> None: ...


def block(index: int) -> Block:
    return Block(
        stream=LEAD, first_index=index, start_us=index * 10_000, rate_hz=100.0, counts=np.zeros(10, dtype=np.int32)
    )


def audit(number: int) -> Audit:
    return Audit(id=str(number), patient=None, start_us=number, actor="test", action="count")


def make() -> tuple[Recorder, MemoryStore, list[str | None]]:
    store, said = MemoryStore(), list[str | None]()

    def changed(health: RecorderHealth) -> None:
        said.append(health.error)

    return Recorder(store, InlineWorker(), changed), store, said


@given(steps=st.lists(st.one_of(st.integers(1, 5), st.sampled_from(["flush", "refuse", "accept"])), max_size=40))
def test_whatever_the_store_refuses_everything_arrives_once_and_in_order(steps: list[int | str]) -> None:
    recorder, store, _ = make()
    offered = 0

    async def play() -> None:
        nonlocal offered
        for step in [*steps, "accept", "flush"]:
            if isinstance(step, int):
                for _ in range(step):
                    recorder.keep(audit(offered))
                    offered += 1
            elif step == "flush":
                assert await recorder.flush() is not store.refuse or not recorder.health.error
            else:
                store.refuse = step == "refuse"

    asyncio.run(play())
    assert [event.start_us for event in store.kept if isinstance(event, Audit)] == list(range(offered))


def test_a_failing_store_is_said_once_and_said_again_when_it_works() -> None:
    recorder, store, said = make()

    async def play() -> None:
        store.refuse = True
        for number in range(3):
            recorder.keep(audit(number))
            assert not await recorder.flush()
        store.refuse = False
        assert await recorder.flush()

    asyncio.run(play())
    assert said == ["disk full", None]


def test_memory_is_bounded_while_the_disk_is_full_and_what_was_dropped_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "PENDING_MAX", 100)
    recorder, store, _ = make()
    store.refuse = True

    async def play() -> None:
        for number in range(100):
            recorder.keep(audit(number))
        await recorder.flush()
        for number in range(100, 350):
            recorder.keep(audit(number))
        store.refuse = False
        await recorder.flush()

    asyncio.run(play())
    kept = [event.start_us for event in store.kept if isinstance(event, Audit)]
    assert recorder.health.dropped == 150
    assert kept == [*range(100), *range(250, 350)]


@given(bad=st.sets(st.integers(0, 29), max_size=6))
def test_an_item_that_can_never_be_stored_does_not_hold_back_the_others(bad: set[int]) -> None:
    recorder, store, said = make()

    async def play() -> None:
        for number in range(30):
            recorder.keep(audit(-1 - number if number in bad else number))
        assert await recorder.flush()

    asyncio.run(play())
    kept = [event.start_us for event in store.kept if isinstance(event, Audit)]
    assert kept == [number for number in range(30) if number not in bad]
    assert recorder.health.rejected == len(bad)
    assert said == []


def test_a_disk_that_fills_while_a_bad_item_is_sought_stores_nothing_twice() -> None:
    recorder, store, _ = make()
    written = 0

    async def play() -> None:
        nonlocal written
        real = store.write

        def write(batch: Batch) -> None:
            nonlocal written
            if written == 1:
                store.refuse = True
            real(batch)
            written += 1

        store.write = write  # type: ignore[method-assign]
        for number in range(8):
            recorder.keep(audit(-1 if number == 6 else number))
        assert not await recorder.flush()
        store.refuse, written = False, 99
        assert await recorder.flush()

    asyncio.run(play())
    assert [e.start_us for e in store.kept if isinstance(e, Audit)] == [0, 1, 2, 3, 4, 5, 7]


def test_what_is_stored_of_a_patient_is_told_only_after_it_is_on_disk() -> None:
    recorder, store, _ = make()

    async def play() -> None:
        store.refuse = True
        recorder.keep(block(100))
        await recorder.flush()
        assert "p" not in recorder.health.stored_us
        store.refuse = False
        await recorder.flush()
        assert recorder.health.stored_us["p"] == 1_100_000

    asyncio.run(play())


def test_an_item_that_comes_while_a_batch_is_being_written_is_not_lost_with_it() -> None:
    store = MemoryStore()
    came: list[int] = []

    class SlowDisk(InlineWorker):
        async def run(self, work: Callable[[], T]) -> T:
            if not came:
                came.append(1)
                recorder.keep(audit(1))
            await asyncio.sleep(0)
            return work()

    recorder = Recorder(store, SlowDisk(), lambda _: None)

    async def play() -> None:
        recorder.keep(audit(0))
        assert await recorder.flush()

    asyncio.run(play())
    assert [event.start_us for event in store.kept if isinstance(event, Audit)] == [0, 1]
