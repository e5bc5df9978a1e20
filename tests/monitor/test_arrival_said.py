"""The monitor gives the pulse arrival time where an ECG and a pulse wave are both there, and withdraws it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.monitor.monitor_helpers import T0_US, blocks, monitor, run, stream
from tests.signal.pulse_waves import pulse_wave

from bedside.core.codes import Code, StreamKind
from bedside.core.events import Numeric
from bedside.core.samples import Block, Validity
from bedside.core.time import US_PER_S
from bedside.simulation.bodies import SimulatedBody
from bedside.simulation.happenings import Timetable

pytestmark = pytest.mark.requirement("SIG-006")

SECONDS = 70
WAVE_HZ = 100.0


def both(delay_s: float, wave_until_s: float = SECONDS, wearable: str = "strap", cut: int = 65) -> list[Block]:
    """A body's ECG and a wave whose pulses follow its beats by `delay_s`, by time."""
    body = SimulatedBody("arrival", 3, Timetable(()))
    ecg = blocks(stream(), body.ecg_uv(0, 130 * SECONDS), cut)
    peaks = [at + delay_s for at in body.beats_s(0.0, wave_until_s) if at + delay_s < wave_until_s]
    wave = np.round(2000.0 * pulse_wave(peaks, wave_until_s, WAVE_HZ)).astype(np.int32)
    more: dict[str, Any] = {"id": "wave", "wearable": wearable, "unit": "1", "unit_per_count": 1.0, "label": "PLETH"}
    pulse = blocks(stream(WAVE_HZ, StreamKind.PLETH, **more), wave, 50)
    return sorted([*ecg, *pulse], key=lambda one: one.end_us)


def told(parts: list[Block]) -> list[Numeric]:
    events = run(monitor(), parts).events
    return [event for event in events if isinstance(event, Numeric) and event.code is Code.PULSE_ARRIVAL]


def test_the_delay_of_the_pulse_is_given_every_ten_seconds_and_a_longer_one_is_longer_by_as_much() -> None:
    near, far = told(both(0.25)), told(both(0.33))
    assert len(near) >= 4
    assert {one.start_us - T0_US for one in near} <= {k * 10 * US_PER_S - T0_US % (10 * US_PER_S) for k in range(9)}
    assert all(one.validity is Validity.GOOD for one in near)
    values = [[one.value for one in side if one.value is not None] for side in (near, far)]
    assert float(np.median(values[1]) - np.median(values[0])) == pytest.approx(80.0, abs=6.0)
    assert float(np.ptp(values[0])) < 15.0


def test_two_wearables_have_two_clocks_and_the_number_is_questionable() -> None:
    said = [one for one in told(both(0.25, wearable="oximeter")) if one.value is not None]
    assert said
    assert {(one.validity, one.reason) for one in said} == {(Validity.QUESTIONABLE, "two_clocks")}


def test_it_does_not_depend_on_how_the_ecg_was_cut() -> None:
    whole, cut = ([replace(one, id="") for one in told(both(0.25, cut=size))] for size in (65, 13))
    assert whole == cut


def test_a_wave_alone_or_pulses_that_end_give_no_number() -> None:
    assert not told([one for one in both(0.25) if one.stream.kind is StreamKind.PLETH])
    last = told([replace(one, counts=one.counts * (one.start_us < T0_US + 40 * US_PER_S)) for one in both(0.25)])[-1]
    assert last.value is None and last.reason in ("no_pulse", "too_few_beats")
