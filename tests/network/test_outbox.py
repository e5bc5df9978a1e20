"""The outbox: nothing lost, nothing twice, nothing in clear, and bounded."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.network.net_world import CANARY_KIND, CANARY_PATIENT, alarm

from bedside.attestation.alert import MERGED_KIND, Alert
from bedside.attestation.sign1 import encode
from bedside.attestation.statement import GENESIS, Link, Status, statement_hash
from bedside.attestation.work import WorkTree
from bedside.core.errors import StoreError
from bedside.core.events import AlarmState, Priority
from bedside.network.outbox import Made, Outbox

pytestmark = pytest.mark.requirement("NET-002")

KEY = bytes(range(32))


def alert(number: int, at_us: int, priority: Priority = Priority.HIGH) -> Alert:
    return Alert.of(alarm(number, at_us, priority))


def test_what_was_put_is_there_after_opening_again(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    outbox.put_alerts([alert(1, 10), alert(2, 20, Priority.LOW), alert(3, 5)])
    outbox.delivered([alert(2, 20, Priority.LOW)])
    outbox.close()
    outbox.close()
    again = Outbox.open(tmp_path / "outbox.db", KEY)
    assert again.waiting() == [alert(1, 10), alert(3, 5)]
    again.put_alerts([alert(2, 20, Priority.LOW)])
    assert again.waiting_count == 2  # told before the restart: not told again
    again.put_alerts([alert(2, 21, Priority.LOW)])
    assert again.waiting_count == 3  # but its next change is
    again.close()


def test_a_change_that_came_while_the_envelope_was_under_way_goes_on_waiting(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    outbox.put_alerts([alert(1, 10)])
    changed = replace(alert(1, 10), changed_us=11, state=AlarmState.ENDED)
    outbox.put_alerts([changed])
    outbox.delivered([alert(1, 10)])
    assert outbox.waiting() == [changed]
    outbox.put_alerts([alert(1, 10)])  # an older change that comes late replaces nothing
    assert outbox.waiting() == [changed]
    outbox.close()


def test_too_many_alerts_are_merged_the_least_urgent_and_oldest_first(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", KEY, alerts_max=300)
    for first in range(0, 1000, 20):
        outbox.put_alerts([alert(number, number, list(Priority)[number % 3]) for number in range(first, first + 20)])
    waiting = outbox.waiting()
    assert len(waiting) <= 300
    (merged,) = [item for item in waiting if item.kind == MERGED_KIND]
    assert merged.count + len(waiting) - 1 == 1000
    assert merged.count == outbox.number("merged_total")
    highs = [item.raised_us for item in waiting if item.priority is Priority.HIGH]
    assert max(highs) == 999
    assert highs == sorted(highs, reverse=True)
    outbox.close()
    again = Outbox.open(tmp_path / "outbox.db", KEY, alerts_max=300)
    assert again.waiting() == waiting
    again.close()


def test_high_priority_outlives_any_number_of_low_ones(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", KEY, alerts_max=200)
    outbox.put_alerts([alert(n, n) for n in range(50)])
    outbox.put_alerts([alert(n, n, Priority.LOW) for n in range(1000, 2000)])
    assert sum(item.priority is Priority.HIGH for item in outbox.waiting()) == 50
    outbox.close()


def test_nothing_on_disk_tells_kind_patient_or_priority(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    outbox.put_alerts([alert(1, 10), alert(2, 20, Priority.LOW)])
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    sizes = {row[0] for row in outbox._db.execute("SELECT length(sealed) FROM alert")}
    outbox.close()
    words = (CANARY_KIND.encode(), CANARY_PATIENT.encode(), bytes.fromhex(CANARY_PATIENT), f"{1:032x}".encode())
    assert not any(word in data for word in words)
    assert len(sizes) == 1
    assert CANARY_KIND.encode() in encode(alert(1, 10).to_list())  # control: unsealed, it would be found


def test_with_another_key_old_alerts_are_counted_and_the_outbox_goes_on(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    outbox.put_alerts([alert(1, 10)])
    outbox.close()
    again = Outbox.open(tmp_path / "outbox.db", bytes(32))
    assert (again.unreadable, again.waiting()) == (1, [])
    again.close()


def test_an_alarm_with_the_longest_words_is_kept_and_is_the_same_after_a_restart(tmp_path: Path) -> None:
    longest = replace(
        alarm(1, 2**53), alarm="ä" * 200, patient="p" * 200, kind="k" * 200, text="ü" * 500, raised_us=2**53
    )
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    outbox.put_alerts([Alert.of(longest)])
    outbox.close()
    again = Outbox.open(tmp_path / "outbox.db", KEY)
    assert again.waiting() == [Alert.of(longest)]
    again.delivered(again.waiting())
    again.put_alerts([Alert.of(longest)])
    assert again.waiting() == []
    again.close()


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match=r"outbox\.db"):
        Outbox.open(tmp_path / "outbox.db", KEY)


def test_a_full_disk_loses_nothing_that_was_said_to_be_kept(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    outbox.put_alerts([alert(1, 10)])
    pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        outbox.put_alerts([alert(n, n) for n in range(100, 300)])
    assert outbox.waiting() == [alert(1, 10)]
    outbox._db.execute("PRAGMA max_page_count = 100000")
    outbox.put_alerts([alert(n, n) for n in range(100, 300)])
    assert outbox.waiting_count == 201
    outbox.close()


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    Outbox.open(tmp_path / "outbox.db", KEY).close()
    assert (tmp_path / "outbox.db").stat().st_mode & 0o777 == 0o600


class Chain:
    """What `build` makes in place of a signed statement."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.trees: list[WorkTree] = []

    def __call__(self, link: Link) -> Made:
        self.links.append(link)
        self.trees.append(WorkTree.over([b"canary work zebra"]))
        return Made(encode([link.seq, link.prev, link.epoch, str(link.status)]), self.trees[-1])


def test_statements_are_numbered_and_chained_and_made_once_for_each_epoch(tmp_path: Path) -> None:
    outbox, chain = Outbox.open(tmp_path / "outbox.db", KEY), Chain()
    first = outbox.statement(100, True, chain)
    assert first is not None
    assert outbox.statement(100, True, chain) == first
    outbox.close()
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    assert outbox.statement(100, True, chain) == first
    outbox.answered(first, "", 100)
    second = outbox.statement(101, True, chain)
    assert second is not None
    outbox.answered(second, "model", 101)
    outbox.statement(102, True, chain)  # the one before was refused
    outbox.statement(104, True, chain)  # the one before was never answered, and an epoch is missing
    assert outbox.statement(103, True, chain) is None  # the operator's clock went back
    assert [link.seq for link in chain.links] == [1, 2, 3, 4]
    assert [link.status for link in chain.links] == [Status.GAP, Status.OK, Status.GAP, Status.GAP]
    assert [link.prev for link in chain.links[:3]] == [GENESIS, statement_hash(first), statement_hash(second)]
    outbox.close()


def test_the_newest_statements_work_is_kept_encrypted_and_only_until_the_next(tmp_path: Path) -> None:
    outbox, chain = Outbox.open(tmp_path / "outbox.db", KEY), Chain()
    outbox.statement(100, True, chain)
    outbox.close()
    assert b"canary work zebra" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    assert outbox.work(100) == chain.trees[0]
    outbox.statement(101, True, chain)
    assert outbox.work(100) is None
    assert outbox.work(101) == chain.trees[1]
    outbox.close()
    stranger = Outbox.open(tmp_path / "outbox.db", bytes(32))
    assert stranger.work(101) is None
    stranger.close()


def test_an_epoch_counts_as_in_service_only_with_nearly_all_of_its_slots(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    for slots, expected in ((100, True), (98, True), (97, False), (0, False)):
        epoch = 10 * (slots + 1)
        for _ in range(slots):
            outbox.note_slot(epoch)
        assert outbox.in_service(epoch + 1, 100) is expected  # asked before the new epoch's first slot
        outbox.note_slot(epoch + 1)
        assert outbox.in_service(epoch + 1, 100) is expected  # and after it
        outbox.note_slot(epoch + 3)
        assert not outbox.in_service(epoch + 3, 100)  # an epoch without any slot lies between
    outbox.close()


def test_a_restart_forgets_less_than_a_minute_of_service(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    for _ in range(180):
        outbox.note_slot(10)
    outbox.close()  # as if killed: nothing is written when it closes
    outbox = Outbox.open(tmp_path / "outbox.db", KEY)
    for _ in range(180):
        outbox.note_slot(10)
    outbox.note_slot(11)
    assert outbox.in_service(11, 360)
    outbox.close()


class OutboxMachine(RuleBasedStateMachine):
    """The outbox against a model of itself: a dictionary of the newest untold change of each alarm."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.db"
        self.outbox = Outbox.open(self.path, KEY)
        self.waiting: dict[str, Alert] = {}
        self.told: dict[str, int] = {}

    @rule(number=st.integers(0, 8), at_us=st.integers(0, 30), priority=st.sampled_from(Priority))
    def put(self, number: int, at_us: int, priority: Priority) -> None:
        item = alert(number, at_us, priority)
        self.outbox.put_alerts([item])
        known = self.waiting[item.alarm].changed_us if item.alarm in self.waiting else self.told.get(item.alarm, -1)
        if at_us > known or (at_us == known and item.alarm in self.waiting):
            self.waiting[item.alarm] = item

    @rule(count=st.integers(0, 4))
    def deliver(self, count: int) -> None:
        taken = self.outbox.waiting()[:count]
        self.outbox.delivered(taken)
        for item in taken:
            del self.waiting[item.alarm]
            self.told[item.alarm] = item.changed_us

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.outbox = Outbox.open(self.path, KEY)

    @invariant()
    def the_same_alerts_wait(self) -> None:
        expected = sorted(self.waiting.values(), key=lambda item: (item.urgency, item.alarm))
        assert sorted(self.outbox.waiting(), key=lambda item: (item.urgency, item.alarm)) == expected

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()


OutboxMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
TestOutboxAgainstItsModel = OutboxMachine.TestCase


WRITER = """
import os, sys
from pathlib import Path
from bedside.network.outbox import Outbox
from tests.network.net_world import alarm
from bedside.attestation.alert import Alert
outbox = Outbox.open(Path(sys.argv[1]), bytes(range(32)))
first = int(sys.argv[2])
for number in range(first, first + 100000):
    outbox.put_alerts([Alert.of(alarm(number, number))])
    os.write(1, b"%d\\n" % number)
"""


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_writer_loses_no_alert_that_it_called_kept(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    path, kept = tmp_path / "outbox.db", []
    for life in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(1000 * life)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )
        assert child.stdout is not None
        kept.append(int(child.stdout.readline()))
        time.sleep(dice.uniform(0.02, 0.2))
        child.send_signal(signal.SIGKILL)
        kept += [int(line) for line in child.stdout.read().split()]
        child.wait()
        child.stdout.close()
    outbox = Outbox.open(path, KEY, alerts_max=10_000)
    there = {int(item.alarm, 16) for item in outbox.waiting()}
    boots = outbox.number("boot_count")
    outbox.close()
    assert set(kept) <= there, f"lost with seed {seed}"
    assert boots == 3
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
