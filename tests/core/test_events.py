"""Events keep their meaning through JSON and CBOR, and readers ignore what they do not know."""

from __future__ import annotations

import dataclasses
import json
import random
import typing
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.core.events import EVENT_TYPES, Beat, BeatClass, Event, from_cbor, from_dict, to_cbor, to_dict
from bedside.core.ids import IdSource

TEXT = st.text(max_size=20)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that a field of an event may have."""
    options = typing.get_args(hint)
    if options and typing.get_origin(hint) is not dict:
        return st.one_of([values_of(option) for option in options])
    if hint is type(None):
        return st.none()
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    if typing.get_origin(hint) is dict:
        return st.dictionaries(
            TEXT, st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), TEXT), max_size=4
        )
    return {
        str: TEXT,
        int: st.integers(-(2**62), 2**62),
        bool: st.booleans(),
        float: st.floats(allow_nan=False, allow_infinity=False),
    }[hint]


@st.composite
def events(draw: st.DrawFn) -> Event:
    cls = draw(st.sampled_from(list(EVENT_TYPES.values())))
    hints = typing.get_type_hints(cls)
    return cls(**{item.name: draw(values_of(hints[item.name])) for item in dataclasses.fields(cls)})


@given(event=events())
def test_an_event_survives_cbor_and_json(event: Event) -> None:
    assert from_cbor(to_cbor(event)) == event
    assert from_dict(json.loads(json.dumps(to_dict(event)))) == event


@given(event=events())
def test_equal_events_have_equal_bytes_whatever_the_order_of_their_evidence(event: Event) -> None:
    values = dict(reversed(to_dict(event).items()))
    again = from_dict(values)
    assert again is not None
    assert to_cbor(again) == to_cbor(event)


def test_a_reader_ignores_a_type_or_schema_it_does_not_know() -> None:
    assert from_dict({"type": "hologram", "schema": 1}) is None
    assert from_dict({"type": "beat", "schema": 2}) is None


def test_a_known_event_that_lacks_a_field_is_refused() -> None:
    with pytest.raises(ValueError, match="beat"):
        from_dict({"type": "beat", "schema": 1, "id": "x"})


@given(data=st.binary(max_size=60))
def test_bytes_that_are_no_event_give_a_value_error_or_nothing(data: bytes) -> None:
    try:
        event = from_cbor(data)
    except ValueError:
        return
    assert event is None


def test_a_beat_without_a_judge_says_so() -> None:
    beat = Beat(
        id="e", patient="p", stream="s", start_us=1, index=0, beat_class=BeatClass.Q, judged=False, probability=None,
        rr_s=None, amplitude_mv=1.0, model=None,
    )  # fmt: skip
    assert to_dict(beat)["beat_class"] == "Q"


def test_event_ids_never_go_back_even_when_the_clock_does() -> None:
    times = iter([5_000_000, 5_000_000, 1_000_000, 9_000_000, *[9_000_000] * 5000])
    ids = IdSource(lambda: next(times), random.Random(1))
    made = [ids.event() for _ in range(5004)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(one[14] == "7" for one in made)
