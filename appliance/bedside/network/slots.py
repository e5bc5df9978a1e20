"""The rhythm: what leaves the box, and when. Pure: the time is passed in, no clock, file, socket or asyncio.

Time is cut into slots of `slot_s` on the wall clock (slot n begins at n x `slot_s` since 1970), and into
epochs. In each slot there are two moments, and at most one message at each:

- at the slot's start an envelope, always, real or dummy;
- half a slot later an *errand*, only when one is due: first enrolment, then the epoch's beacon, then
  the epoch's statement, one a slot, in this order, until the operator has answered each.

What is due depends on the time, and on what the operator answered; never on a patient. An errand that
failed is due again in the next slot. While the link is down slots pass, and after it is back there is
still one envelope a slot: no burst says how much had waited.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bedside.core.time import US_PER_S


class Errand(StrEnum):
    """What is due half a slot in."""

    ENROL = "enrol"
    BEACON = "beacon"
    STATEMENT = "statement"


@dataclass(frozen=True, slots=True)
class Moment:
    """The next time at which something may leave."""

    at_us: int
    slot: int
    is_errand: bool


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The lengths of slot and epoch, and the arithmetic on them."""

    slot_us: int
    epoch_us: int

    @classmethod
    def of(cls, *, slot_s: float, epoch_s: float) -> Rhythm:
        """Raises `ValueError` when an epoch is not a whole number of at least four slots."""
        slot_us, epoch_us = round(slot_s * US_PER_S), round(epoch_s * US_PER_S)
        if slot_us <= 0 or epoch_us % slot_us or epoch_us < 4 * slot_us:
            raise ValueError(f"epoch {epoch_s:g} s, slot {slot_s:g} s: expected a whole number of 4 or more slots")
        return cls(slot_us, epoch_us)

    @property
    def slots_per_epoch(self) -> int:
        """How many envelopes an epoch has."""
        return self.epoch_us // self.slot_us

    def slot(self, now_us: int) -> int:
        """The number of the slot that `now_us` is in."""
        return now_us // self.slot_us

    def epoch(self, now_us: int) -> int:
        """The number of the epoch that `now_us` is in, by this box's clock."""
        return now_us // self.epoch_us

    def next_moment(self, now_us: int) -> Moment:
        """The first moment after `now_us`: a slot's start or its middle."""
        halves = (2 * now_us) // self.slot_us + 1
        at_us = -(-halves * self.slot_us // 2)  # rounded up: a moment never lies before its half
        return Moment(at_us, halves // 2, bool(halves & 1))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the box stands with the operator. Nothing of a patient is in it."""

    enrolled: bool
    beacon_epoch: int | None  # our own number of the epoch in which the newest beacon was fetched
    stated_epoch: int | None  # … and in which the newest statement was answered


def due(standing: Standing, epoch: int) -> Errand | None:
    """What is due now, in our epoch number `epoch`."""
    if not standing.enrolled:
        return Errand.ENROL
    if standing.stated_epoch == epoch:
        return None
    return Errand.STATEMENT if standing.beacon_epoch == epoch else Errand.BEACON
