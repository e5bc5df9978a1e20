"""Trends: the same as counting the numbers, over restarts, crashes, clocks set back and damage."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.records.records_world import T0_US, numeric, opened, patient

from bedside.core.codes import Code
from bedside.core.errors import StoreError
from bedside.core.events import Numeric
from bedside.core.ports import Batch
from bedside.records import store as store_module
from bedside.records.store import RecordStore, open_reader
from bedside.records.trend import TrendBucket
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-005")

ADA, BO = patient("Ada"), patient("Bo")
HOUR_US = 3_600_000_000


def expected(
    numbers: Sequence[Numeric], code: Code, start_us: int, end_us: int, buckets: int, whole_minutes: bool = True
) -> list[TrendBucket]:
    """By the definition: each number counts at the start of its minute."""
    made: list[TrendBucket] = []
    for at in range(buckets):
        begin, end = (start_us + (end_us - start_us) * n // buckets for n in (at, at + 1))
        values = [
            one.value
            for one in numbers
            if one.code == code
            and one.value is not None
            and begin <= (one.start_us // 60_000_000 * 60_000_000 if whole_minutes else one.start_us) < end
        ]
        mean = sum(values) / len(values) if values else None
        made.append(TrendBucket(begin, end, min(values, default=None), max(values, default=None), mean, len(values)))
    return made


def same(found: Sequence[TrendBucket], wanted: Sequence[TrendBucket]) -> bool:
    def key(one: TrendBucket) -> TrendBucket:
        return replace(one, mean=None if one.mean is None else round(one.mean, 9))

    return list(map(key, found)) == list(map(key, wanted))


def numbers(seed: int, count: int) -> list[Numeric]:
    dice = random.Random(seed)
    made: list[Numeric] = []
    at_us = T0_US
    for _ in range(count):
        at_us += dice.choice([1_000_000, 7_000_000, 61_000_000, -30_000_000])
        one = numeric(ADA, at_us, dice.uniform(40, 180))
        made.append(replace(one, code=dice.choice([Code.HEART_RATE, Code.SPO2]), value=dice.choice([one.value, None])))
    return made


def killed(store: RecordStore) -> None:
    store._connection.close()
    store._folder_lock.release()


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_a_trend_is_what_counting_gives_over_restarts_and_crashes(
    every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "CHECKPOINT_BATCHES", every)
    kept = opened(tmp_path)
    kept.put_patient(ADA)
    written = numbers(every, 1500)
    for at in range(0, len(written), 20):
        kept.write(Batch([], [*written[at : at + 20]]))
        if at % 400 == 380:
            if at % 800 == 380:
                killed(kept)
            else:
                kept.close()
            kept = opened(tmp_path)
        if at % 300 == 0:
            while kept.compact_step():
                pass
    reader = open_reader(Home(tmp_path))
    for code in (Code.HEART_RATE, Code.SPO2, Code.BATTERY):
        for start_us, end_us, buckets in (
            (T0_US, T0_US + 10 * HOUR_US, 100),
            (T0_US - HOUR_US, T0_US + 3 * HOUR_US, 7),
            (T0_US + 1234567, T0_US + 5 * HOUR_US + 89, 299),
        ):
            wanted = expected(written, code, start_us, end_us, buckets)
            assert same(kept.trend(ADA.id, code, start_us, end_us, buckets), wanted)
            assert same(reader.trend(ADA.id, code, start_us, end_us, buckets), wanted)
        fine = expected(written, code, T0_US, T0_US + HOUR_US, 500, whole_minutes=False)
        assert same(kept.trend(ADA.id, code, T0_US, T0_US + HOUR_US, 500), fine)
    reader.close()
    kept.close()


def test_trends_are_worked_out_anew_where_no_checkpoint_can_be_used(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.put_patient(ADA)
    written = numbers(5, 400)
    kept.write(Batch([], [*written]))
    kept.close()
    db = sqlite3.connect(tmp_path / "store.db")
    with db:
        db.execute("UPDATE checkpoint SET sealed = zeroblob(length(sealed))")
    db.close()
    for _ in range(2):
        kept = opened(tmp_path)
        end_us = T0_US + 10 * HOUR_US
        wanted = expected(written, Code.SPO2, T0_US, end_us, 50)
        assert same(kept.trend(ADA.id, Code.SPO2, T0_US, end_us, 50), wanted)
        kept.close()


def test_a_damaged_hour_raises_and_other_hours_and_patients_do_not(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.put_patient(ADA)
    kept.put_patient(BO)
    for hour in range(3):
        at_us = T0_US + hour * HOUR_US
        kept.write(Batch([], [numeric(ADA, at_us), numeric(BO, at_us)]))
    kept.close()
    db = sqlite3.connect(tmp_path / "store.db")
    with db:
        one, other = db.execute("SELECT hour, sealed FROM trend WHERE series = 1 ORDER BY hour LIMIT 2").fetchall()
        db.execute("UPDATE trend SET sealed = ? WHERE series = 1 AND hour = ?", (other[1], one[0]))
    db.close()
    kept = opened(tmp_path)
    with pytest.raises(StoreError):
        kept.trend(ADA.id, Code.HEART_RATE, T0_US, T0_US + 3 * HOUR_US, 3)
    later = kept.trend(ADA.id, Code.HEART_RATE, T0_US + HOUR_US, T0_US + 3 * HOUR_US, 2)
    assert [one.count for one in later] == [1, 1]
    assert sum(one.count for one in kept.trend(BO.id, Code.HEART_RATE, T0_US, T0_US + 3 * HOUR_US, 3)) == 3
    kept.write(Batch([], [numeric(ADA, T0_US + 1)]))  # writing goes on
    kept.close()


def test_trends_lie_on_disk_without_a_readable_code_or_value(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    kept.put_patient(ADA)
    kept.write(Batch([], [numeric(ADA, T0_US, 77.25)]))
    kept.close()
    db = sqlite3.connect(tmp_path / "store.db")
    ((sealed,),) = db.execute("SELECT sealed FROM trend").fetchall()
    db.close()
    assert b"MDC" not in sealed
    assert len(sealed) > 40


@pytest.mark.parametrize("arguments", [(T0_US, T0_US, 5), (T0_US, T0_US + 1, 0), (T0_US + 1, T0_US, 5)])
def test_a_trend_of_nothing_is_refused(arguments: tuple[int, int, int], tmp_path: Path) -> None:
    kept = opened(tmp_path)
    with pytest.raises(ValueError, match="trend"):
        kept.trend(ADA.id, Code.SPO2, *arguments)
    kept.close()
