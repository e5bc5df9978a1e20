"""What is past its time is deleted a little at a time, audited, and the log still verifies; nothing else goes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.records.records_world import CHEAP, T0_US, numeric, opened, patient, second, stream

from bedside.core.codes import Code, StreamKind
from bedside.core.errors import SetupError, StoreError
from bedside.core.events import Audit
from bedside.core.ports import Batch
from bedside.records import retention
from bedside.records.cli import records
from bedside.records.keys import KeyRing
from bedside.records.retention import DAY_US, KINDS, Policy, load_policy, save_policy
from bedside.records.store import RecordStore, open_reader, open_store
from bedside.records.verify import verify
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-008")

ADA, BO = patient("Ada"), patient("Bo")
ADA_I, BO_I = stream(ADA, "I"), stream(BO, "I")
ADA_P = replace(stream(ADA, "ir"), kind=StreamKind.PLETH)
DAYS = 6
END = T0_US + 10**13


def fill(home: Path) -> None:
    """Ten seconds a day."""
    store = opened(home)
    store.put_patient(ADA)
    store.put_patient(BO)
    for day in range(DAYS):
        for at_s in range(10):
            at_us = T0_US + day * DAY_US + at_s * 1_000_000
            blocks = [replace(second(info, 10 * day + at_s), start_us=at_us) for info in (ADA_I, ADA_P, BO_I)]
            store.write(Batch(blocks, [numeric(ADA, at_us), numeric(BO, at_us)]))
    store.close()


def at(home: Path, day: float) -> RecordStore:
    """The store on that day, packed and with all deleted that is past its time."""
    now_us = T0_US + round(day * DAY_US)
    store = open_store(Home(home), now_us=lambda: now_us, cost=CHEAP)
    while store.compact_step():
        pass
    return store


def days_of(store: RecordStore, info_id: str) -> set[int]:
    return {(one.start_us - T0_US) // DAY_US for one in store.blocks(info_id, T0_US, END)}


def rule(home: Path, policy: Policy) -> None:
    save_policy(home / "retention.json", KeyRing.open(home / "keys", passphrase=None), policy)


def verified(home: Path) -> int:
    reader = open_reader(Home(home))
    report = verify(reader)
    reader.close()
    assert report.ok, report.findings
    return report.deleted


def test_without_a_rule_nothing_is_deleted(tmp_path: Path) -> None:
    fill(tmp_path)
    store = at(tmp_path, 30_000)
    assert days_of(store, ADA_I.id) == set(range(DAYS))
    store.close()
    assert verified(tmp_path) == 0


def test_each_kind_and_patient_goes_after_its_own_time(tmp_path: Path) -> None:
    fill(tmp_path)
    policy = Policy().changed("", "ecg", 2).changed("", "events", 4).changed(BO.id, "ecg", 0)
    rule(tmp_path, policy)
    store = at(tmp_path, 5.5)
    assert days_of(store, ADA_I.id) == {4, 5}  # what ended more than two days before
    assert days_of(store, ADA_P.id) == set(range(DAYS))  # another kind
    assert days_of(store, BO_I.id) == set(range(DAYS))  # her own rule: for good
    for who in (ADA, BO):
        found = {(one.start_us - T0_US) // DAY_US for one in store.events(who.id, T0_US, END, ("numeric",))}
        assert found == {2, 3, 4, 5}
        trend = store.trend(who.id, Code.HEART_RATE, T0_US, T0_US + DAYS * DAY_US, DAYS)
        assert [bool(one.count) for one in trend] == [False, False, True, True, True, True]
    assert [one.name for one in store.patients()] == ["Ada", "Bo"]  # who they are does not age
    assert store.next_index(ADA_I.id) == DAYS * 10 * 130
    store.close()
    assert verified(tmp_path) == 40 + 20 + 20


def test_each_deletion_is_in_the_audit(tmp_path: Path) -> None:
    fill(tmp_path)
    rule(tmp_path, Policy().changed("", "ecg", 3))
    store = at(tmp_path, 5.5)
    acts = [one for one in store.events(None, 0, 2**62, ("audit",)) if isinstance(one, Audit)]
    store.close()
    assert {one.action for one in acts} == {"deleted"}
    assert {str(one.detail["patient"]) for one in acts} == {ADA.id, BO.id}
    assert sum(int(str(one.detail["entries"])) for one in acts) == 60


def test_space_is_freed(tmp_path: Path) -> None:
    fill(tmp_path)

    def held() -> int:
        store = opened(tmp_path)
        (size,) = store._connection.execute(
            "SELECT (SELECT total(length(sealed)) FROM entry) + (SELECT total(length(sealed)) FROM pack)"
        ).fetchone()
        store.close()
        return int(size)

    at(tmp_path, 5.5).close()
    before = held()
    rule(tmp_path, Policy().changed("", "ecg", 1).changed("", "pleth", 1))
    at(tmp_path, 30).close()
    assert held() < 0.6 * before  # a leaf of 32 bytes stays of each second; here rows are small


def test_an_altered_rule_deletes_nothing_and_is_said(tmp_path: Path) -> None:
    fill(tmp_path)
    rule(tmp_path, Policy().changed("", "ecg", 3000))
    path = tmp_path / "retention.json"
    path.write_text(path.read_text().replace("3000", "1"))
    store = at(tmp_path, 5000)
    assert days_of(store, ADA_I.id) == set(range(DAYS))
    assert "nothing is deleted after its time" in " ".join(store.opening_report.damage)
    store.close()


def test_a_rule_outlives_a_change_of_the_box_key(tmp_path: Path) -> None:
    keys = KeyRing.open(tmp_path / "keys", passphrase=None)
    save_policy(tmp_path / "r", keys, Policy().changed("", "ecg", 7))
    keys.rotate()
    assert load_policy(tmp_path / "r", KeyRing.open(tmp_path / "keys", passphrase=None)).days("x", "ecg") == 7
    other = KeyRing.open(tmp_path / "other", passphrase=None)
    with pytest.raises(StoreError):
        load_policy(tmp_path / "r", other)


@given(days=st.integers(-5, 40_000), kind=st.sampled_from([*KINDS, "all", ""]))
def test_a_rule_is_taken_as_it_is_or_refused(days: int, kind: str) -> None:
    if kind in KINDS and 0 <= days <= retention.DAYS_MAX:
        assert Policy().changed("", kind, days).days("anyone", kind) == (days or None)
    else:
        with pytest.raises(SetupError):
            Policy().changed("", kind, days)


def test_the_command_sets_shows_and_audits_the_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEDSIDE_PASSPHRASE_FILE", raising=False)
    fill(tmp_path)
    words = ["retain", "--home", str(tmp_path)]
    assert "kept for good" in CliRunner().invoke(records, words).output
    done = CliRunner().invoke(records, [*words, "--kind", "ecg", "--days", "90", "--patient", ADA.id])
    assert done.exit_code == 0, done.output
    assert f"{ADA.id}: ecg for 90 days" in CliRunner().invoke(records, words).output
    for wrong in (
        ["--kind", "ecg"],
        ["--kind", "x", "--days", "1"],
        ["--kind", "ecg", "--days", "1", "--patient", "x"],
    ):
        assert isinstance(CliRunner().invoke(records, [*words, *wrong]).exception, SetupError)
    told = CliRunner().invoke(records, ["audit", "--home", str(tmp_path), "--json", "--action", "retention"])
    (line,) = told.output.splitlines()
    assert json.loads(json.loads(line)["detail"]) == {"days": 90, "kind": "ecg", "patient": ADA.id}
