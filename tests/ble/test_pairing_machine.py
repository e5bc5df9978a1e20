"""The automaton of an attempt and the register: whatever happens in whatever order, their rules hold."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.ble.pairing import (
    UNSECURED,
    Answer,
    Ask,
    Attempt,
    Bonded,
    BondLevel,
    Choose,
    Dropped,
    Facts,
    Failed,
    Happening,
    Identity,
    OwnedError,
    Pairing,
    Proved,
    Question,
    Register,
    Stage,
    Unbonded,
    Undo,
    step,
)

pytestmark = pytest.mark.requirement("BLE-007")

OURS = Identity(address="C0:00:00:00:00:01", name="Strap", model="H", serial="1")
ALIKE = dataclasses.replace(OURS, serial="2")  # a clone of the address; its serial number gives it away
OTHER = dataclasses.replace(OURS, address="C0:00:00:00:00:02", serial="2")
BELONGS = Question(ask=Ask.BELONGS, text="?")

identities = st.sampled_from([OURS, ALIKE, OTHER, dataclasses.replace(OURS, serial="")])
levels = st.sampled_from(list(BondLevel))
facts = st.builds(Facts, identity=identities, battery_pct=st.just(82.0), level=levels, spot=st.just(False))
happenings: st.SearchStrategy[Happening] = st.one_of(
    st.builds(Choose, asks=st.sampled_from([(), (BELONGS,), (BELONGS, Question(ask=Ask.ALIKE, text="?"))])),
    st.builds(Answer, st.booleans()),
    st.builds(Bonded, identities, levels),
    st.builds(Unbonded, identities),
    st.just(Dropped()),
    st.builds(Proved, facts),
    st.just(Failed("gone")),
    st.just(Undo()),
)


def attempt() -> Attempt:
    return Attempt(id="a", patient="p", chosen=OURS)


def walk(path: list[Happening]) -> list[Attempt]:
    now, seen = attempt(), []
    for one in path:
        now = step(now, one)
        seen.append(now)
    return seen


@settings(max_examples=600, deadline=None)
@given(st.lists(happenings, max_size=14))
def test_paired_is_only_what_was_bonded_left_reached_again_and_read_as_the_same(path: list[Happening]) -> None:
    seen = walk(path)
    for before, after in zip([attempt(), *seen], seen, strict=False):
        if after.stage is Stage.PAIRED and before.stage is not Stage.PAIRED:
            stages = [one.stage for one in seen]
            first = [stages.index(stage) for stage in (Stage.DROPPING, Stage.PROVING, Stage.PAIRED)]
            assert first == sorted(first)
            assert after.facts is not None and after.identity is not None
            assert after.facts.identity.same(OURS) and after.facts.identity.serial == after.identity.serial
            assert after.facts.level is after.level
            if after.level is BondLevel.NONE:
                assert Ask.UNSECURED in after.agreed
        if before.over and before.stage is not Stage.PAIRED:
            assert after is before, "what is over stays so"


@settings(max_examples=300, deadline=None)
@given(st.lists(happenings, max_size=14))
def test_a_question_is_never_passed_over_and_a_no_ends_it(path: list[Happening]) -> None:
    now = attempt()
    for one in path:
        after = step(now, one)
        if now.question is not None and after.stage in (Stage.BONDING, Stage.DROPPING):
            assert one == Answer(True) and now.question.ask in after.agreed
        if now.question is not None and one == Answer(False):
            assert after.stage is Stage.REFUSED and after.reason
        assert (after.question is not None) == (after.stage is Stage.ASKED)
        now = after


def test_the_plain_way_and_the_way_of_a_wearable_that_makes_no_bond() -> None:
    read = Facts(identity=OURS, battery_pct=82.0, level=BondLevel.AUTHENTICATED, spot=False)
    plain = walk([Choose(), Bonded(OURS, BondLevel.AUTHENTICATED), Dropped(), Proved(read)])
    assert [one.stage for one in plain] == [Stage.BONDING, Stage.DROPPING, Stage.PROVING, Stage.PAIRED]
    bare = dataclasses.replace(read, level=BondLevel.NONE)
    weak = walk([Choose(), Unbonded(OURS), Answer(True), Dropped(), Proved(bare), Undo()])
    assert weak[1].question == UNSECURED
    assert [one.stage for one in weak[3:]] == [Stage.PROVING, Stage.PAIRED, Stage.UNDONE]
    lost = walk([Choose(), Bonded(OURS, BondLevel.AUTHENTICATED), Dropped(), Proved(bare)])
    assert lost[-1].stage is Stage.REFUSED and "bond did not hold" in lost[-1].reason


@pytest.mark.parametrize("stranger", [ALIKE, OTHER])
def test_a_look_alike_on_the_second_link_is_refused(stranger: Identity) -> None:
    read = Facts(identity=stranger, battery_pct=82.0, level=BondLevel.UNAUTHENTICATED, spot=False)
    end = walk([Choose(), Bonded(OURS, BondLevel.UNAUTHENTICATED), Dropped(), Proved(read)])[-1]
    assert end.stage is Stage.REFUSED and "looks alike" in end.reason


def pairing(wearable: str, patient: str, identity: Identity = OURS) -> Pairing:
    return Pairing(wearable=wearable, patient=patient, identity=identity, level=BondLevel.NONE, paired_us=1)


moves = st.tuples(
    st.sampled_from(["add", "drop"]), st.integers(0, 3), st.sampled_from(["anna", "bert", "cora"]), st.integers(0, 3)
)


@settings(max_examples=300, deadline=None)
@given(st.lists(moves, max_size=20))
def test_a_wearable_is_never_two_patients(path: list[tuple[str, int, str, int]]) -> None:
    register = Register()
    for what, wearable, patient, place in path:
        before = register
        if what == "drop":
            register = register.without(f"w{wearable}")
        else:
            identity = dataclasses.replace(OURS, address=f"C0:00:00:00:01:{place:02X}", serial=str(place))
            owner = register.of_address(identity.address)
            try:
                register = register.add(pairing(f"w{wearable}", patient, identity))
            except OwnedError:
                assert register is before
            else:
                assert owner is None or owner.patient == patient
        addresses = [one.identity.address for one in register.pairings]
        assert len(set(addresses)) == len(addresses)
        wearables = [one.wearable for one in register.pairings]
        assert len(set(wearables)) == len(wearables)
