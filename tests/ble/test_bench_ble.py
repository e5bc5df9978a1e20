"""The bench of the wearables' room measures what it says: nothing that was sent is lost, and losses have times."""

from __future__ import annotations

import asyncio

import pytest

from bedside.ble.virtual.night import CountingBody
from bedside.core.physiology import RadioState
from bedside.evaluate import bench_ble

pytestmark = pytest.mark.requirement("BLE-002", "BLE-003")


def test_a_load_without_faults_misses_nothing_and_one_with_faults_says_what() -> None:
    found = asyncio.run(bench_ble._load(3, 3.0, 1))
    assert found["up"] == 3 and found["ecg_samples_missing"] == 0 and found["ledger_errors"] == 0
    assert found["packets"] >= 3 * 3 * 2 and found["decode_and_hand_over_us"]["n"] == found["packets"]
    assert found["notification_to_filtered_ms"]["n"] > 0


def test_a_lossy_radio_shows_in_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CountingBody, "radio", lambda self, at_s: RadioState(loss=0.4))
    found = asyncio.run(bench_ble._load(3, 4.0, 1))
    assert found["ecg_samples_missing"] > 0 and found["ledger_errors"] == 0


def test_losses_are_told_and_mended_within_seconds() -> None:
    silent = bench_ble._loss_figures(bench_ble.SILENT, 1)
    assert silent["told_s"]["n"] == silent["mended_s"]["n"] == bench_ble.TRIALS
    assert 2.9 <= silent["told_s"]["median"] <= 3.1, "an ECG is late after 3 s"
    assert silent["mended_s"]["largest"] < 6
    away = bench_ble._loss_figures(bench_ble.OUT_OF_RANGE, 1)
    assert away["told_s"]["largest"] < 4 and away["mended_s"]["largest"] < 35
