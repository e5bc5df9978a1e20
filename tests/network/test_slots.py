"""The rhythm's arithmetic: every slot once, in order, whatever the time is asked at."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.network import slots
from bedside.network.slots import Errand, Rhythm, Standing, due

pytestmark = pytest.mark.requirement("NET-001")

HOURLY = Rhythm.of(slot_s=10, epoch_s=3600)


@given(now_us=st.integers(0, 2**52), slot_us=st.integers(2, 20_000_000))
def test_the_next_moment_lies_ahead_by_at_most_half_a_slot(now_us: int, slot_us: int) -> None:
    rhythm = Rhythm(slot_us, slot_us * 6)
    moment = rhythm.next_moment(now_us)
    assert now_us < moment.at_us <= now_us + (slot_us + 1) // 2
    assert rhythm.slot(moment.at_us) == moment.slot


@given(start_us=st.integers(0, 2**52), slot_us=st.integers(4, 20_000_000))
def test_walking_from_moment_to_moment_meets_every_slot_once_and_its_middle_once(start_us: int, slot_us: int) -> None:
    rhythm, now_us, met = Rhythm(slot_us, slot_us * 6), start_us, []
    for _ in range(41):
        moment = rhythm.next_moment(now_us)
        met.append((moment.slot, moment.is_errand))
        now_us = moment.at_us
    first = met[0]
    expected = [(first[0] + (n + first[1]) // 2, bool((n + first[1]) % 2)) for n in range(41)]
    assert met == expected


def test_an_hour_has_360_slots() -> None:
    assert HOURLY.slots_per_epoch == 360
    assert HOURLY.epoch(3_600_000_000) == 1


@pytest.mark.parametrize(("slot_s", "epoch_s"), [(10, 3601), (10, 30), (0, 3600), (7, 3600)])
def test_lengths_that_do_not_fit_each_other_are_refused(slot_s: float, epoch_s: float) -> None:
    with pytest.raises(ValueError, match="whole number"):
        Rhythm.of(slot_s=slot_s, epoch_s=epoch_s)


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        (Standing(False, None, None), Errand.ENROL),
        (Standing(False, 5, None), Errand.ENROL),
        (Standing(True, None, None), Errand.BEACON),
        (Standing(True, 4, 4), Errand.BEACON),
        (Standing(True, 5, 4), Errand.STATEMENT),
        (Standing(True, 5, 5), None),
        (Standing(True, None, 5), None),
    ],
)
def test_errands_are_due_in_their_order(standing: Standing, expected: Errand | None) -> None:
    assert due(standing, 5) is expected


def test_what_is_due_is_decided_without_any_word_of_alerts_or_patients() -> None:
    fields = set(Standing.__dataclass_fields__) | set(inspect.signature(Rhythm.next_moment).parameters)
    assert fields == {"enrolled", "beacon_epoch", "stated_epoch", "self", "now_us"}
    assert not {"outbox", "alert"} & set(vars(slots))
