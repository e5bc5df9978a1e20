"""The bursts are those of IEC 60601-1-8, measured as a laboratory would: by FFT and by the timing of pulses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tone_meter import faults, find_pulses, read_wav

from bedside.alarms.tones import RATE_HZ, bursts, parse_signals

pytestmark = pytest.mark.requirement("ALM-006")

PRIORITY = {"high": "high", "medium": "medium", "low": "low", "stopped": "high"}
REPEAT_S = {"high": (2.5, 15.0), "medium": (2.5, 30.0), "low": (15.0, 120.0), "stopped": (2.5, 15.0)}


@pytest.mark.parametrize("name", PRIORITY)
def test_a_burst_has_the_pulses_the_timing_and_the_harmonics_of_its_priority(name: str) -> None:
    samples, rate_hz = read_wav(bursts()[name].wav())
    assert rate_hz == RATE_HZ
    pulses = find_pulses(samples, rate_hz)
    assert faults(pulses, PRIORITY[name]) == []
    assert 0.1 < np.abs(samples).max() < 1.0, "loud, and never clipped"


@pytest.mark.parametrize("name", PRIORITY)
def test_the_quiet_between_two_bursts_is_that_of_the_priority(name: str) -> None:
    burst = bursts()[name]
    least_s, most_s = REPEAT_S[name]
    assert least_s <= burst.repeat_s - burst.length_s <= most_s


def test_a_more_urgent_signal_is_never_quieter_than_a_less_urgent_one() -> None:
    loudness = [float(np.sqrt(np.mean(bursts()[name].samples() ** 2))) for name in ("high", "medium", "low")]
    assert loudness == sorted(loudness, reverse=True)


def test_monitoring_stopped_is_told_from_a_patients_alarm_by_its_melody() -> None:
    def melody(name: str) -> list[int]:
        return [
            round(12 * math.log2(one.fundamental_hz / 261.63)) for one in find_pulses(*read_wav(bursts()[name].wav()))
        ]

    assert len(set(melody("high"))) == 1
    assert melody("stopped") == [12, 0, 0, 12, 0] * 2  # C5 C4 C4 C5 C4, in semitones


def test_the_check_refuses_what_is_often_sold_as_an_alarm_tone() -> None:
    time_s = np.arange(round(0.2 * RATE_HZ)) / RATE_HZ
    beep = 0.5 * np.sin(2 * np.pi * 880 * time_s)
    quiet = np.zeros(round(0.2 * RATE_HZ))
    beeps = np.concatenate([quiet, beep, quiet, beep, quiet, beep, quiet])
    found = faults(find_pulses(beeps, RATE_HZ), "medium")
    assert "pulse 1: 0 harmonics" in found
    assert any("rise" in one for one in found)
    assert faults(find_pulses(*read_wav(bursts()["medium"].wav())), "high"), "a medium burst is no high one"


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ("spacing_s = [0.200, 0.200]", "spacing_s = [0.200]", "medium: 3 pulses need one spacing less"),
        ("spacing_s = [0.200, 0.200]", "spacing_s = [0.010, 0.200]", "medium: pulses or bursts run into each other"),
        ("level_db = -4.0", "level_db = 3.0", "medium: a duration, pitch or level"),
        ("repeat_s = 15.0", "", "medium: 'repeat_s'"),
    ],
)
def test_a_table_of_signals_that_makes_no_sense_is_refused(before: str, after: str, where: str) -> None:
    from importlib import resources

    text = resources.files("bedside.alarms").joinpath("signals.toml").read_text("utf-8")
    assert text.count(before) == 1
    with pytest.raises(ValueError, match=where):
        parse_signals(text.replace(before, after))
