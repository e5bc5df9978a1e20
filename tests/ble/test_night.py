"""Nights of faults on virtual time: what the wearable sent is here or declared missing, to the sample."""

from __future__ import annotations

from typing import Any

import pytest
from tests.ble.ble_scenes import on_virtual_time

from bedside.ble import intake
from bedside.ble.timeline import Placement, Timeline
from bedside.ble.virtual.night import FAULTS, Night, run_night

pytestmark = pytest.mark.requirement("BLE-002", "BLE-003")


def night(hours: float, seed: int, quiet_s: tuple[float, float] = (20.0, 60.0)) -> Night:
    return on_virtual_time(lambda: run_night(hours, seed, quiet_s))


def check(found: Night) -> None:
    assert not found.errors, found.errors
    assert all(found.faults[name] > 0 for name in FAULTS), found.faults
    assert found.ledger.received > 0.3 * (found.sent + found.skipped)
    assert found.links_lost and len(found.recovered_s) >= found.links_lost - 1


@pytest.mark.parametrize("seed", [1, 2])
def test_hours_of_every_fault_balance_to_the_sample(seed: int) -> None:
    found = night(1.2, seed)
    check(found)
    assert found.ledger.declared.keys() >= {"packets_lost", "link_lost", "malformed_packet"}


class BlindTimeline(Timeline):
    """Gap detection switched off: every frame is taken to follow the last one."""

    def place(self, **frame: Any) -> Placement | None:
        placed = super().place(**frame)
        if placed is None or placed.hole is None:
            return placed
        self.next_index -= placed.hole.n_samples
        return Placement(placed.hole.first_index, placed.start_us, placed.uncertainty_us, None)


def test_without_gap_detection_the_same_night_does_not_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "Timeline", BlindTimeline)
    assert any("0 declared" in error for error in night(1.2, 1).errors)


class TrustingTimeline(Timeline):
    """Frames whose end was cut off are taken at their stamp's word."""

    def _cut(self, missing: int, n_samples: int) -> bool:
        return False


def test_without_a_look_at_its_length_a_cut_frame_would_stand_at_the_wrong_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "Timeline", TrustingTimeline)
    assert night(1.2, 1).errors


@pytest.mark.long
def test_three_days_of_every_fault_balance_to_the_sample() -> None:
    found = night(72.0, 7, (60.0, 400.0))
    check(found)
    print(found)
