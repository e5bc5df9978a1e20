"""A cuff that several people use: only her own numbers are hers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.ble import blood_pressure, heart_rate, weight
from bedside.ble.intake import Intake
from bedside.ble.users import not_hers
from bedside.core.samples import Item, Reading, Validity

pytestmark = pytest.mark.requirement("BLE-007")


def packet(user: int | None) -> bytes:
    return blood_pressure.BloodPressure(
        systolic=Decimal(128), diastolic=Decimal(82), map=Decimal(97), unit="mmHg", user_id=user
    ).encode()


def readings(user_index: int | None, said: int | None) -> list[Reading]:
    got: list[Item] = []
    intake = Intake(wearable="w", patient="p", put=got.append, user_index=user_index)
    intake.begin_link(0.0)
    assert intake.take(blood_pressure.MEASUREMENT, packet(said), now_us=1_800_000_000_000_000, now_s=10.0)
    return [one for one in got if isinstance(one, Reading)]


def test_another_users_pressure_is_withheld_with_its_reason_and_hers_passes() -> None:
    hers = readings(2, 2)
    assert hers and all(one.value is not None for one in hers)
    others = readings(2, 1)
    assert others and all(one.value is None and one.validity is Validity.REJECTED for one in others)
    assert {one.reason for one in others} == {"measured as another user of this device"}
    unknown = readings(2, 255) + readings(2, None)
    assert unknown and {one.reason for one in unknown} == {"the device does not say who was measured"}
    assert all(one.value is not None for one in readings(None, 1)), "the control: without an index all are taken"


@given(st.integers(0, 254), st.one_of(st.none(), st.integers(0, 255)))
def test_only_an_equal_index_passes(mine: int, said: int | None) -> None:
    assert (not_hers(blood_pressure.MEASUREMENT, packet(said), mine) is None) == (said == mine)
    assert not_hers(blood_pressure.MEASUREMENT, packet(said), None) is None


def test_a_scale_has_users_too_and_a_strap_has_none() -> None:
    value = weight.Weight(weight=Decimal("70.5"), unit="kg", user_id=1)
    assert not_hers(weight.WEIGHT, value.encode(), 2) is not None
    assert not_hers(heart_rate.MEASUREMENT, b"\x00\x48", 2) is None
