"""A report on paper: what is drawn of short and long times, who sees a name, and that each printing is in the audit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.records.records_world import T0_US, alarm, beat, ids, numeric, opened, patient, second, stream

from bedside.core.codes import Code
from bedside.core.errors import SetupError
from bedside.core.events import AlarmState, Audit
from bedside.core.ports import Batch
from bedside.core.samples import Validity
from bedside.records.cli import records
from bedside.records.excerpt import newest_words, segments_of
from bedside.records.paper import WINDOWS_MAX, origin_of, print_report, report_of, who_of
from bedside.records.store import RecordStore

pytestmark = pytest.mark.requirement("REC-006")

ADA = patient("Ada Secret", "Bed 9")
LEAD = stream(ADA)
SECOND_US = 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    made = opened(tmp_path / "home")
    made.put_patient(ADA)
    for at_s in range(60):
        at_us = T0_US + at_s * SECOND_US
        made.write(Batch([second(LEAD, at_s)], [numeric(ADA, at_us, 70.0 + at_s), beat(ADA, LEAD, at_us)]))
    raised = alarm(ADA, T0_US + 30 * SECOND_US, AlarmState.ACTIVE, "a1")
    taken = replace(raised, id=ids.event(), state=AlarmState.ACKNOWLEDGED, by="nurse B", changed_us=T0_US + 33_000_000)
    made.write(Batch([], [raised, taken]))
    yield made
    made.close()


def printed(store: RecordStore, acts: list[Audit], *, named: bool) -> bytes:
    return print_report(
        store, acts.append, ids, patient=ADA.id, start_us=T0_US, end_us=T0_US + 60 * SECOND_US, actor="nurse A",
        now_us=T0_US, named=named,
    )  # fmt: skip


def test_a_printing_is_an_audited_act_with_its_hash_and_whether_the_name_was_on_it(store: RecordStore) -> None:
    acts: list[Audit] = []
    pdf = printed(store, acts, named=True)
    assert pdf.startswith(b"%PDF-")
    (act,) = acts
    assert (act.patient, act.actor, act.action) == (ADA.id, "nurse A", "printed")
    assert act.detail["sha256"] == hashlib.sha256(pdf).hexdigest()
    assert act.detail["named"] is True
    assert "Secret" not in repr(act)


def test_no_bytes_come_out_when_the_audit_cannot_be_kept(store: RecordStore) -> None:
    def refuse(act: Audit) -> None:
        raise SetupError("no room", hint="none")

    with pytest.raises(SetupError, match="no room"):
        print_report(
            store, refuse, ids, patient=ADA.id, start_us=T0_US, end_us=T0_US + SECOND_US, actor="x", now_us=T0_US,
            named=False,
        )  # fmt: skip


def test_a_patient_or_a_range_that_is_none_is_refused(store: RecordStore) -> None:
    for who, end_us in (("nobody", T0_US + 1), (ADA.id, T0_US), (ADA.id, T0_US + 49 * 3600 * SECOND_US)):
        with pytest.raises(SetupError):
            print_report(
                store, lambda act: None, ids, patient=who, start_us=T0_US, end_us=end_us, actor="x", now_us=T0_US,
                named=False,
            )  # fmt: skip


def test_a_short_time_is_drawn_whole_with_its_beats_numbers_and_alarms(store: RecordStore) -> None:
    end_us = T0_US + 60 * SECOND_US
    segments = segments_of(store.blocks(LEAD.id, T0_US, end_us), T0_US, end_us)
    withheld = replace(numeric(ADA, end_us - 1), value=None, validity=Validity.REJECTED, reason="noise")
    events = [*newest_words(store.events(ADA.id, T0_US, end_us)), withheld]
    origin = origin_of(store, events, actor="nurse A", now_us=T0_US, act="a")
    assert origin.log_head == f"{store.head()[0]} {store.head()[1].hex()}"
    made = report_of(who_of(ADA, named=False), origin, segments, events, T0_US, end_us)
    assert made.who.name is None
    assert [(one.start_us, one.end_us) for one in made.windows] == [(T0_US, end_us)]
    assert sum(one.values.size for one in made.leads[0].stretches) == 60 * 130
    assert len(made.leads[0].beats) == 60
    (number,) = made.numbers
    assert (number.low, number.high, number.count, number.withheld) == (70.0, 129.0, 60, 1)
    assert number.newest is None  # the last one was withheld: an older one is not shown as if it were it
    assert number.note == "noise"
    (line,) = made.alarms
    assert line.text == "Heart rate far too low"
    assert line.fate == "acknowledged, acknowledged by nurse B at 00:00:33"


def test_of_a_long_time_what_happened_is_drawn_and_what_was_left_out_is_said(store: RecordStore) -> None:
    end_us = T0_US + 6 * 3600 * SECOND_US
    segments = segments_of(store.blocks(LEAD.id, T0_US, end_us), T0_US, end_us)
    alarms = [alarm(ADA, T0_US + at * 60 * SECOND_US, AlarmState.ENDED, f"a{at}") for at in range(1, WINDOWS_MAX + 4)]
    origin = origin_of(store, [], actor="nurse A", now_us=T0_US, act="a")
    made = report_of(who_of(ADA, named=True), origin, segments, alarms, T0_US, end_us)
    assert len(made.windows) == WINDOWS_MAX
    assert len(made.alarms) == WINDOWS_MAX + 3
    assert all(one.start_us <= at.start_us < one.end_us for one, at in zip(made.windows, alarms, strict=False))
    assert "too long to draw whole" in made.remarks[0]
    assert made.remarks[1].startswith("3 more moments")


def test_a_battery_is_no_vital_sign(store: RecordStore) -> None:
    events = [replace(numeric(ADA, T0_US), code=Code.BATTERY, unit="%")]
    origin = origin_of(store, [], actor="x", now_us=T0_US, act="a")
    assert report_of(who_of(ADA, named=True), origin, [], events, T0_US, T0_US + 1).numbers == ()


def test_the_command_writes_a_pdf_without_the_name_unless_it_is_asked_for(store: RecordStore, tmp_path: Path) -> None:
    store.close()
    words = ["export", ADA.id, "--from", "2026-01-01T00:00:00", "--to", "2026-01-01T00:01:00", "--format", "pdf"]
    words += ["--home", str(tmp_path / "home")]
    for name, more in (("plain", []), ("named", ["--named", "--paper", "LETTER"])):
        done = CliRunner().invoke(records, [*words, "--out", str(tmp_path / name), *more])
        assert done.exit_code == 0, done.output
        assert (tmp_path / name / "report.pdf").read_bytes().startswith(b"%PDF-")
    again = opened(tmp_path / "home")
    acts = [one for one in again.events(ADA.id, 0, 2**62, ("audit",)) if isinstance(one, Audit)]
    again.close()
    told = [(one.action, one.detail["named"], one.detail["paper"]) for one in acts]
    assert told == [(word, *how) for how in ((False, "A4"), (True, "LETTER")) for word in ("export", "exported")]
