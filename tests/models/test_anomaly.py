"""What is usual of a patient, and what is not: slow to learn, deaf to alarms, forgetful on request."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.core.codes import Code
from bedside.core.events import Alarm, AlarmClass, AlarmState, Event, Finding, Numeric, Priority
from bedside.core.ids import IdSource
from bedside.core.samples import Validity
from bedside.models import anomaly, anomaly_card, shipped
from bedside.monitor.anomaly import MINUTE_US, AnomalyWatch

pytestmark = pytest.mark.requirement("MOD-002")


def day(minutes: int, level: float = 70.0, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [level + rng.gauss(0, 3) for _ in range(minutes)]


def followed(values: list[float], learn: bool = True, start: int = 0) -> tuple[anomaly.Usual, list[anomaly.Change]]:
    usual, said = anomaly.Usual(), list[anomaly.Change]()
    for minute, value in enumerate(values, start):
        usual, change = anomaly.step(usual, "heart_rate", minute, value, learn)
        said += [change] if change is not None else []
    return usual, said


@pytest.mark.parametrize("seed", range(10))
def test_a_steady_day_has_no_anomaly(seed: int) -> None:
    assert followed(day(1440, seed=seed))[1] == []


def test_a_rate_that_rises_and_stays_is_said_with_how_much_and_since_when_and_its_end_too() -> None:
    values = day(300) + day(60, 96.0, 2) + day(60, 70.0, 3)
    began, ended = followed(values)[1]
    assert began.on
    assert not ended.on
    assert began.since == pytest.approx(300, abs=8)
    assert began.by == pytest.approx(26, abs=4)
    assert began.words().startswith("rate up 2")
    assert began.words().endswith("/min (usual 70)")


def test_nothing_is_judged_before_two_hours_are_known() -> None:
    assert followed(day(60) + day(58, 130.0, 2))[1] == []
    assert followed(day(130) + day(58, 130.0, 2))[1] != []


def test_what_must_not_be_learned_is_not_learned() -> None:
    usual, said = followed(day(600), learn=False)
    assert said == []
    assert usual.tracks["heart_rate"].known == ()


def test_a_lasting_change_is_not_learned_for_six_hours_and_then_becomes_usual() -> None:
    usual, said = followed(day(240) + day(350, 110.0, 2))
    assert len(said) == 1
    assert max(value for _, value in usual.tracks["heart_rate"].known) < 90
    assert [one.on for one in followed(day(240) + day(1300, 110.0, 2))[1]] == [True, False]


def test_memory_is_bounded_over_ten_days() -> None:
    usual, _ = followed(day(14_400))
    assert len(usual.tracks["heart_rate"].known) == anomaly.KEPT
    assert len(usual.tracks["heart_rate"].recent) <= anomaly.RECENT


@settings(deadline=None, max_examples=30)
@given(
    values=st.lists(st.tuples(st.integers(0, 400), st.floats(20, 250), st.booleans()), max_size=200),
)
def test_any_minutes_in_any_order_are_taken(values: list[tuple[int, float, bool]]) -> None:
    usual = anomaly.Usual()
    for minute, value, learn in values:
        before = usual
        usual, _ = anomaly.step(usual, "heart_rate", minute, value, learn)
        assert before.tracks is not usual.tracks
    json.dumps(anomaly.inspection(usual, 401))


def test_an_unknown_quantity_is_an_error() -> None:
    with pytest.raises(KeyError):
        anomaly.step(anomaly.Usual(), "mood", 0, 1.0, True)


def test_the_card_is_what_its_facts_say_and_speaks_of_the_present_rules() -> None:
    folder = shipped.folder() / "cards"
    facts = json.loads((folder / "anomaly.json").read_text())
    assert (folder / "anomaly.md").read_text() == anomaly_card.card(facts)
    assert facts["rules"] == json.loads(json.dumps(anomaly_card.rules())), (
        "measure anew: anomaly_nets.py DIR --out models"
    )
    assert anomaly_card.card(facts | {"people": 999}) != anomaly_card.card(facts)


# The watch over events


def watch() -> AnomalyWatch:
    return AnomalyWatch("patient", IdSource(lambda: 0, random.Random(1)), simulated=True)


def number(minute: int, value: float | None, validity: Validity = Validity.GOOD, second: int = 1) -> Event:
    return Numeric(
        id="n", patient="patient", start_us=minute * MINUTE_US + second * 1_000_000, code=Code.HEART_RATE, value=value,
        unit="/min", validity=validity, source="s",
    )  # fmt: skip


def alarm(condition: bool) -> Event:
    return Alarm(
        id="a", patient="patient", start_us=0, alarm="a", kind="tachycardia", alarm_class=AlarmClass.PHYSIOLOGICAL,
        priority=Priority.MEDIUM, state=AlarmState.ACTIVE if condition else AlarmState.ENDED, condition=condition,
        latching=False, raised_us=0, changed_us=0, text="",
    )  # fmt: skip


def heard(one: AnomalyWatch, values: list[float], start: int = 0) -> list[Finding]:
    said = [finding for minute, value in enumerate(values, start) for finding in one.hear(number(minute, value))]
    return [finding for finding in said if isinstance(finding, Finding)]


def test_a_finding_says_in_words_what_changed_and_its_end() -> None:
    one = watch()
    began, ended = heard(one, day(300) + day(60, 96.0, 2) + day(60, 70.0, 3))
    assert began.kind == ended.kind == "anomaly"
    assert began.evidence["on"] is True
    assert ended.evidence["on"] is False
    assert str(began.evidence["words"]).startswith("rate up")
    assert "since 0" in str(began.evidence["words"])
    assert began.start_us < 301 * MINUTE_US


def test_while_an_alarm_stands_nothing_is_learned_and_afterwards_it_is() -> None:
    one = watch()
    one.hear(alarm(True))
    heard(one, day(400))
    view = one.inspection()
    assert view["learning"] is False
    assert view["quantities"]["heart_rate"]["hours_known"] == 0.0
    one.hear(alarm(False))
    heard(one, day(400), 400)
    assert one.inspection()["quantities"]["heart_rate"]["hours_known"] > 6


def test_a_value_that_is_not_good_is_neither_judged_nor_learned() -> None:
    one = watch()
    for minute, value in enumerate(day(400)):
        one.hear(number(minute, value, Validity.QUESTIONABLE))
        one.hear(number(minute, None, Validity.REJECTED))
    assert one.inspection()["quantities"] == {}


def test_forgetting_ends_what_was_said_and_learns_anew() -> None:
    one = watch()
    (began,) = heard(one, day(300) + day(60, 96.0, 2))
    (ended,) = one.reset("heart_rate")
    assert isinstance(ended, Finding)
    assert ended.evidence["on"] is False
    assert ended.evidence["key"] == began.evidence["key"]
    assert one.inspection()["quantities"] == {}
    with pytest.raises(KeyError):
        one.reset("mood")


def test_the_view_of_what_is_usual_is_plain_json() -> None:
    one = watch()
    heard(one, day(300))
    view = json.loads(json.dumps(one.inspection()))["quantities"]["heart_rate"]
    assert view["usual"] == pytest.approx(70, abs=2)
    assert view["limit"] >= 20
