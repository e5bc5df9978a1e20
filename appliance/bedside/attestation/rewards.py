"""How an epoch's pool is shared: a pure integer rule, the same for everybody who computes it.

Weights: a gateway that its care site audited and calls in service 100, one on standby 5, a home's own word 10.
A gateway's share is pool x weight // max(sum of weights, `CAPACITY_MIN` x 100): a young network does not hand its
whole pool to its first gateway. All homes together get at most a tenth of the pool, since nobody but the box
itself says that there is one. A site's gateways together weigh no more than its licensed beds: where more are
in service, each weighs less. What is not paid stays unallocated; paid + unallocated = pool, always.

Nothing depends on the order in which statements came. Pure: integers in, integers out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bedside.attestation.verify import Tier

RULE: Final = "bedside-rewards/1"
WEIGHTS: Final[Mapping[Tier, int]] = {Tier.SITE: 100, Tier.HOME: 10, Tier.STANDBY: 5}
CAPACITY_MIN: Final = 10
HOMES_SHARE: Final = 10  # one part in so many of the pool is the most that all homes get


@dataclass(frozen=True, slots=True)
class Earned:
    """What one gateway's epoch counts as."""

    tier: Tier
    auditor: bytes = b""  # of its site, where it has one


@dataclass(frozen=True, slots=True)
class Shares:
    """One epoch, shared out."""

    paid: Mapping[bytes, int]  # by the gateway's kid, in the pool's smallest unit
    unallocated: int


def share(pool: int, earned: Mapping[bytes, Earned], beds: Mapping[bytes, int]) -> Shares:
    """Share one epoch's `pool` among the gateways that earned something; `beds` by auditor's kid.

    Raises `ValueError` for a negative pool or number of beds.
    """
    if pool < 0 or any(count < 0 for count in beds.values()):
        raise ValueError("pool and beds: expected numbers of 0 and more")
    in_service = Counter(one.auditor for one in earned.values() if one.tier is Tier.SITE)
    weights = {kid: _weight(one, beds, in_service) for kid, one in earned.items()}
    whole = max(sum(weights.values()), CAPACITY_MIN * WEIGHTS[Tier.SITE])
    paid = {kid: pool * weight // whole for kid, weight in weights.items()}
    homes = [kid for kid, one in earned.items() if one.tier is Tier.HOME]
    if sum(paid[kid] for kid in homes) > pool // HOMES_SHARE:
        paid |= {kid: pool // HOMES_SHARE // len(homes) for kid in homes}  # all homes weigh the same
    return Shares(paid, pool - sum(paid.values()))


def _weight(one: Earned, beds: Mapping[bytes, int], in_service: Mapping[bytes, int]) -> int:
    weight = WEIGHTS[one.tier]
    if one.tier is not Tier.SITE:
        return weight
    licensed, claimed = beds.get(one.auditor, 0), in_service[one.auditor]
    return weight if claimed <= licensed else weight * licensed // claimed
