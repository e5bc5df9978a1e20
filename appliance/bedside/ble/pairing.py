"""A wearable becomes one patient's: the automaton of one attempt, and the register of who has which. Pure.

    seen --Choose--> asked --Answer(yes)--> bonding --Bonded--> dropping --Dropped--> proving --Proved--> paired
      |                |                       |  '--Unbonded--> asked ("unsecured")     |                   |
      |                '--Answer(no)--> refused|                                         '--Failed--> refused|
      '--Choose, nothing to ask--> bonding     '--Failed--> refused            undone <--Undo----------------'

A bond that was made is no bond that holds: many a wearable pairs once and never again. So an attempt is *paired* only
after the link was ended, made anew with the bond alone, and the wearable read as the same one. What an attempt must
ask first (`questions`) is asked one at a time, each a plain question with yes or no; a no ends the attempt, and
nothing has changed then. An event that does not belong to the state changes nothing: late answers are harmless.

The register holds one rule that no path may break: a wearable belongs to one patient. Who moves it says so.
No clock, file, radio or asyncio here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

PASSKEY_MAX = 999_999  # Core 3.H 2.3.5.3: six digits


class Stage(StrEnum):
    """Where an attempt stands."""

    SEEN = "seen"
    ASKED = "asked"
    BONDING = "bonding"
    DROPPING = "dropping"  # bonded; the link is ended on purpose
    PROVING = "proving"
    PAIRED = "paired"
    REFUSED = "refused"
    UNDONE = "undone"


class BondLevel(StrEnum):
    """What a wearable proved when it was bonded."""

    NONE = "none"  # it cannot bond: known by its address and serial number alone
    UNAUTHENTICATED = "unauthenticated"  # encrypted, but nobody compared a number
    AUTHENTICATED = "authenticated"  # a number was compared or typed, or data came by another way (OOB)


class Ask(StrEnum):
    """The plain questions."""

    BELONGS = "belongs"  # it is another patient's: move it here?
    ALIKE = "alike"  # several of one model are near: is it the one with this label?
    UNSECURED = "unsecured"  # it cannot make a bond: use it all the same?
    NUMBERS = "numbers"  # does the wearable show this number?
    PASSKEY = "passkey"  # which number does the wearable show?


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which wearable it is. `serial` is the wearable's own word, empty where it says none."""

    address: str
    name: str
    model: str = ""
    serial: str = ""

    def same(self, other: Identity) -> bool:
        """One wearable and not a look-alike: one address, and no serial number that says otherwise."""
        if self.address.upper() != other.address.upper():
            return False
        return not (self.serial and other.serial) or self.serial == other.serial


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question. `text` is English; pages say it in their own language by `ask` and `number`."""

    ask: Ask
    text: str
    number: str = ""  # the number to compare, or the label to look for


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read on the second link."""

    identity: Identity
    battery_pct: float | None
    level: BondLevel
    spot: bool
    signals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choose:
    """Somebody chose the wearable; `asks` are the questions that must be answered first."""

    asks: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    yes: bool


@dataclass(frozen=True, slots=True)
class Bonded:
    identity: Identity
    level: BondLevel


@dataclass(frozen=True, slots=True)
class Unbonded:
    """The wearable makes no bond, and asked for none; it was read as `identity` all the same."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class Dropped:
    """The first link is gone."""


@dataclass(frozen=True, slots=True)
class Proved:
    facts: Facts


@dataclass(frozen=True, slots=True)
class Failed:
    reason: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Somebody took it back."""


Happening: TypeAlias = Choose | Answer | Bonded | Unbonded | Dropped | Proved | Failed | Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to make a wearable a patient's. Frozen: `step` gives the next one."""

    id: str
    patient: str
    chosen: Identity
    stage: Stage = Stage.SEEN
    questions: tuple[Question, ...] = ()  # still to be answered, the first is the one that is asked
    identity: Identity | None = None  # as read on the first link
    level: BondLevel = BondLevel.NONE
    facts: Facts | None = None
    reason: str = ""
    agreed: tuple[Ask, ...] = ()  # what was answered with yes

    @property
    def question(self) -> Question | None:
        """What is asked now."""
        return self.questions[0] if self.stage is Stage.ASKED and self.questions else None

    @property
    def over(self) -> bool:
        return self.stage in (Stage.PAIRED, Stage.REFUSED, Stage.UNDONE)


UNSECURED = Question(
    ask=Ask.UNSECURED,
    text="This wearable cannot make a secure bond, so a copy could pass for it. Use it all the same?",
)
LOOK_ALIKE = "another wearable answered in its place: it looks alike, but is not the one that was chosen"


def step(attempt: Attempt, happening: Happening) -> Attempt:
    """The attempt after `happening`; the same one where that does not belong to its stage."""
    match attempt.stage, happening:
        case Stage.SEEN, Choose(asks):
            stage = Stage.ASKED if asks else Stage.BONDING
            return dataclasses.replace(attempt, stage=stage, questions=asks)
        case Stage.ASKED, Answer(yes):
            return _answered(attempt, yes)
        case Stage.BONDING, Bonded(identity, level) if level is not BondLevel.NONE:
            return _read(attempt, identity, level)
        case Stage.BONDING, Unbonded(identity):
            if not identity.same(attempt.chosen):
                return _refused(attempt, LOOK_ALIKE)
            return dataclasses.replace(attempt, stage=Stage.ASKED, questions=(UNSECURED,), identity=identity)
        case Stage.DROPPING, Dropped():
            return dataclasses.replace(attempt, stage=Stage.PROVING)
        case Stage.PROVING, Proved(facts):
            return _proved(attempt, facts)
        case ((Stage.ASKED | Stage.BONDING | Stage.DROPPING | Stage.PROVING), Failed(reason)):
            return _refused(attempt, reason)
        case ((Stage.SEEN | Stage.ASKED | Stage.BONDING | Stage.DROPPING | Stage.PROVING | Stage.PAIRED), Undo()):
            return dataclasses.replace(attempt, stage=Stage.UNDONE, questions=())
        case _:
            return attempt


def _answered(attempt: Attempt, yes: bool) -> Attempt:
    asked, *rest = attempt.questions
    if not yes:
        return _refused(attempt, "not wanted")
    agreed = (*attempt.agreed, asked.ask)
    if rest:
        return dataclasses.replace(attempt, questions=tuple(rest), agreed=agreed)
    stage = Stage.DROPPING if asked.ask is Ask.UNSECURED else Stage.BONDING
    return dataclasses.replace(attempt, stage=stage, questions=(), agreed=agreed)


def _read(attempt: Attempt, identity: Identity, level: BondLevel) -> Attempt:
    if not identity.same(attempt.chosen):
        return _refused(attempt, LOOK_ALIKE)
    return dataclasses.replace(attempt, stage=Stage.DROPPING, identity=identity, level=level)


def _proved(attempt: Attempt, facts: Facts) -> Attempt:
    first = attempt.identity
    if first is None or not facts.identity.same(first) or facts.identity.serial != first.serial:
        return _refused(attempt, LOOK_ALIKE)
    if facts.level is not attempt.level:
        return _refused(attempt, "the bond did not hold when the wearable was reached again")
    return dataclasses.replace(attempt, stage=Stage.PAIRED, facts=facts)


def _refused(attempt: Attempt, reason: str) -> Attempt:
    return dataclasses.replace(attempt, stage=Stage.REFUSED, questions=(), reason=reason)


# ---------------------------------------------------------------- who has which


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A wearable that belongs to a patient. `keys` is the bond as the radio's stack exports it: a secret."""

    wearable: str  # its id in the records
    patient: str
    identity: Identity
    level: BondLevel
    paired_us: int
    proven: bool = True  # False: it came from another box, and its bond has not been used here yet
    spot: bool = False
    user_index: int | None = None  # whose numbers of a cuff or scale with several users are hers; None: all
    keys: dict[str, str] = field(default_factory=dict, repr=False)


class OwnedError(ValueError):
    """The wearable is another patient's."""


@dataclass(frozen=True, slots=True)
class Register:
    """Who has which wearable. Frozen; what changes it gives a new one."""

    pairings: tuple[Pairing, ...] = ()

    def of_address(self, address: str) -> Pairing | None:
        return next((one for one in self.pairings if one.identity.address.upper() == address.upper()), None)

    def of_wearable(self, wearable: str) -> Pairing | None:
        return next((one for one in self.pairings if one.wearable == wearable), None)

    def of_patient(self, patient: str) -> tuple[Pairing, ...]:
        return tuple(one for one in self.pairings if one.patient == patient)

    def add(self, pairing: Pairing) -> Register:
        """With `pairing`; her own earlier one of the same wearable is replaced. Raises `OwnedError`."""
        known = self.of_address(pairing.identity.address)
        if known is not None and known.patient != pairing.patient:
            raise OwnedError("this wearable belongs to another patient: take it from her first")
        taken = self.of_wearable(pairing.wearable)
        if taken is not None and not taken.identity.same(pairing.identity):
            raise OwnedError("this id is another wearable's")
        return Register((*(one for one in self.pairings if one is not known), pairing))

    def without(self, wearable: str) -> Register:
        return Register(tuple(one for one in self.pairings if one.wearable != wearable))

    def put(self, pairings: Iterable[Pairing]) -> Register:
        """With all of `pairings`. Raises `OwnedError` and changes nothing when one is another patient's."""
        register = self
        for one in pairings:
            register = register.add(one)
        return register
