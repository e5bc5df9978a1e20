"""The bench signals of IEC 60601-2-27 (and of ANSI/AAMI EC13, from which it has them) as sums of plain shapes.

A QRS is a triangle of a stated base width, a T wave half a sine, as the standard's figures draw them. Waveforms 3a to
3d and 4a and 4b are given there as traced recordings with their rates; here they are built from the same description
(which beats alternate, at what intervals, how high), so they stand for the standard's and are not its tracings.
Pure: arrays in mV out, the same for the same arguments. Clauses: 201.7.9.2.9.101, 201.12.1.101, 202.6.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bedside.core.samples import Floats

QRS_S = 0.080
QRS_MV = 1.0
T_S = 0.180
QT_S = 0.350
T_MV = 0.2


@dataclass(frozen=True, slots=True)
class BenchBeat:
    """A beat whose QRS begins at `at_s`; `qrs_mv` negative: it points down. `t_mv` 0: no T wave."""

    at_s: float
    qrs_mv: float = QRS_MV
    qrs_s: float = QRS_S
    t_mv: float = T_MV


def ecg_mv(beats: Sequence[BenchBeat], duration_s: float, fs_hz: float) -> Floats:
    """The beats as a lead of `duration_s`, shape (round(duration_s * fs_hz),), mV; the rest is 0 mV."""
    lead_mv = np.zeros(round(duration_s * fs_hz))
    for beat in beats:
        _add(lead_mv, fs_hz, beat.at_s, _triangle_mv, beat.qrs_s, beat.qrs_mv)
        if beat.t_mv:
            _add(lead_mv, fs_hz, beat.at_s + QT_S - T_S, _half_sine_mv, T_S, beat.t_mv)
    return lead_mv


def regular(
    rate_bpm: float,
    duration_s: float,
    *,
    start_s: float = 0.3,
    qrs_mv: float = QRS_MV,
    qrs_s: float = QRS_S,
    t_mv: float = T_MV,
) -> tuple[BenchBeat, ...]:
    """Beats at one rate from `start_s`, as many as lie whole within `duration_s` from there.

    At rates where a T wave would reach into the next QRS it is left out, as in the standard's signals.
    """
    rr_s = 60.0 / rate_bpm
    t_mv = t_mv if rr_s > QT_S + 0.02 else 0.0
    return tuple(
        BenchBeat(start_s + k * rr_s, qrs_mv, qrs_s, t_mv) for k in range(int(np.ceil(duration_s / rr_s - 1e-9)))
    )


def step(from_bpm: float, to_bpm: float, at_s: float, duration_s: float) -> tuple[BenchBeat, ...]:
    """Regular beats that change their rate at once: the last interval of the old rate ends with the step."""
    before = regular(from_bpm, at_s)
    change_s = before[-1].at_s
    after = regular(to_bpm, duration_s - change_s, start_s=change_s)
    return before[:-1] + after


def bigeminy(duration_s: float) -> tuple[BenchBeat, ...]:
    """Waveform 3a, ventricular bigeminy, 80/min: each narrow beat followed by an early wide one of the other sign."""
    return _pairs(duration_s, 1.5, (0.0, QRS_MV, QRS_S, T_MV), (0.56, -1.2, 0.140, 0.3))


def slow_alternating(duration_s: float) -> tuple[BenchBeat, ...]:
    """Waveform 3b, slow alternating ventricular bigeminy, 60/min."""
    return _pairs(duration_s, 2.0, (0.0, QRS_MV, QRS_S, T_MV), (0.60, -1.0, 0.140, 0.3))


def rapid_alternating(duration_s: float) -> tuple[BenchBeat, ...]:
    """Waveform 3c, rapid alternating ventricular bigeminy, 120/min."""
    return _pairs(duration_s, 1.0, (0.0, QRS_MV, QRS_S, 0.0), (0.42, -1.0, 0.140, 0.0))


def bidirectional(duration_s: float) -> tuple[BenchBeat, ...]:
    """Waveform 3d, bidirectional systoles, 90/min: wide beats that point up and down in turn."""
    rr_s = 60.0 / 90.0
    return _pairs(duration_s, 2 * rr_s, (0.0, 1.0, 0.120, -0.2), (rr_s, -1.0, 0.120, 0.2))


def tachycardia(rate_bpm: float, size_mv: float, onset_s: float, duration_s: float) -> tuple[BenchBeat, ...]:
    """Waveforms 4a (1 mV, 206/min) and 4b (2 mV, 195/min): from a normal rhythm of 80/min at once to broad beats.

    `size_mv`: of the broad beats, peak to peak.
    """
    before = regular(80.0, onset_s)
    rr_s = 60.0 / rate_bpm
    start_s = before[-1].at_s + 0.4
    broad = range(int((duration_s - start_s) / rr_s))
    return before + tuple(BenchBeat(start_s + k * rr_s, size_mv, min(0.160, 0.6 * rr_s), 0.0) for k in broad)


def mains_mv(n: int, fs_hz: float, frequency_hz: float, peak_to_peak_mv: float) -> Floats:
    """A sine of the mains, shape (n,), mV."""
    return np.asarray(0.5 * peak_to_peak_mv * np.sin(2 * np.pi * frequency_hz * np.arange(n) / fs_hz))


def drift_mv(n: int, fs_hz: float) -> Floats:
    """The standard's drift: a triangle of 4 mV peak to peak at 0.1 Hz, shape (n,), mV."""
    phase = 0.1 * np.arange(n) / fs_hz % 1.0
    return np.asarray(4.0 * np.abs(2.0 * phase - 1.0) - 2.0)


def pacing_mv(at_s: Sequence[float], duration_s: float, fs_hz: float, pulse_mv: float, pulse_s: float) -> Floats:
    """Pacing pulses as a wearable's converter sees them: its mean over each sample, shape (n,), mV.

    A pulse of 0.1 to 2 ms is shorter than a sample below 500 Hz; what remains is its area.
    """
    lead_mv = np.zeros(round(duration_s * fs_hz))
    for one_s in at_s:
        k = int(one_s * fs_hz)
        if k < lead_mv.size:
            lead_mv[k] += pulse_mv * min(pulse_s * fs_hz, 1.0)
    return lead_mv


def _pairs(duration_s: float, period_s: float, *beats: tuple[float, float, float, float]) -> tuple[BenchBeat, ...]:
    return tuple(
        BenchBeat(0.3 + k * period_s + at_s, qrs_mv, qrs_s, t_mv)
        for k in range(int(np.ceil(duration_s / period_s)))
        for at_s, qrs_mv, qrs_s, t_mv in beats
    )


def _add(
    lead_mv: Floats, fs_hz: float, at_s: float, shape: Callable[[Floats], Floats], width_s: float, size_mv: float
) -> None:
    first = max(int(np.ceil(at_s * fs_hz)), 0)
    last = min(int((at_s + width_s) * fs_hz) + 1, lead_mv.size)
    if last > first:
        place = (np.arange(first, last) / fs_hz - at_s) / width_s
        lead_mv[first:last] += size_mv * shape(place)


def _triangle_mv(place: Floats) -> Floats:
    return np.asarray(np.clip(1.0 - np.abs(2.0 * place - 1.0), 0.0, None))


def _half_sine_mv(place: Floats) -> Floats:
    return np.asarray(np.sin(np.pi * np.clip(place, 0.0, 1.0)))
