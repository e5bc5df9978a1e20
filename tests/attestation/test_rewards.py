"""The rule: paid and unallocated make the pool, in any order, and no crowd of homes or empty beds takes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.attestation.rewards import CAPACITY_MIN, HOMES_SHARE, Earned, share
from bedside.attestation.verify import Tier

pytestmark = pytest.mark.requirement("NET-003")

SITES = (b"site a", b"site b", b"unknown")
EARNED = st.dictionaries(
    st.binary(min_size=1, max_size=4),
    st.builds(Earned, st.sampled_from(Tier), st.sampled_from(SITES)),
    max_size=60,
)
BEDS = st.fixed_dictionaries({b"site a": st.integers(0, 40), b"site b": st.integers(0, 3)})


@given(pool=st.integers(0, 10**12), earned=EARNED, beds=BEDS)
def test_paid_and_unallocated_make_the_pool(pool: int, earned: dict[bytes, Earned], beds: dict[bytes, int]) -> None:
    shares = share(pool, earned, beds)
    assert sum(shares.paid.values()) + shares.unallocated == pool
    assert shares.unallocated >= 0
    assert set(shares.paid) == set(earned)
    assert all(amount >= 0 for amount in shares.paid.values())


@given(pool=st.integers(0, 10**9), earned=EARNED, beds=BEDS, seed=st.randoms())
def test_the_order_of_statements_decides_nothing(
    pool: int, earned: dict[bytes, Earned], beds: dict[bytes, int], seed: object
) -> None:
    kids = list(earned)
    seed.shuffle(kids)  # type: ignore[attr-defined]
    assert share(pool, {kid: earned[kid] for kid in kids}, beds) == share(pool, earned, beds)


@given(homes=st.integers(1, 500))
def test_however_many_homes_say_so_they_get_a_tenth_at_most(homes: int) -> None:
    earned = {n.to_bytes(2, "big"): Earned(Tier.HOME) for n in range(homes)}
    assert sum(share(10**9, earned, {}).paid.values()) <= 10**9 // HOMES_SHARE


@given(claimed=st.integers(1, 200), beds=st.integers(0, 20))
def test_more_gateways_than_beds_earn_no_more_than_the_beds(claimed: int, beds: int) -> None:
    earned = {n.to_bytes(2, "big"): Earned(Tier.SITE, b"site") for n in range(claimed)}
    licensed = {n.to_bytes(2, "big"): Earned(Tier.SITE, b"site") for n in range(min(claimed, beds))}
    most = sum(share(10**9, licensed, {b"site": beds}).paid.values())
    paid = sum(share(10**9, earned, {b"site": beds}).paid.values())
    assert paid <= most + claimed  # shares are rounded down, so fewer shares lose less: a unit each


def test_the_first_gateway_of_a_young_network_does_not_get_the_whole_pool() -> None:
    shares = share(1_000_000, {b"one": Earned(Tier.SITE, b"s")}, {b"s": 1})
    assert shares.paid == {b"one": 1_000_000 // CAPACITY_MIN}
    both = share(1_000_000, {b"one": Earned(Tier.SITE, b"s"), b"two": Earned(Tier.STANDBY, b"s")}, {b"s": 1})
    assert both.paid == {b"one": 100_000, b"two": 5_000}


def test_an_unlicensed_site_earns_nothing_and_nonsense_is_refused() -> None:
    assert share(1000, {b"one": Earned(Tier.SITE, b"nobody")}, {}).paid == {b"one": 0}
    with pytest.raises(ValueError, match="pool"):
        share(-1, {}, {})
    with pytest.raises(ValueError, match="beds"):
        share(1, {}, {b"s": -1})
