"""Breaths: a rate from each slow signal that breathing moves, one number from those that agree, and apnoea evidence.

Fed with a slow series (4 a second) of each source: a respiration waveform itself, the
baseline of an ECG or a pulse wave, the size and the distance of its beats or pulses, the tilt of a chest. Pure: no
clock, no beat finding. Sources: Charlton et al. 2016, doi:10.1088/0967-3334/37/4/610 (modulations, 32 s windows, count
and spectrum); Karlen et al. 2013, doi:10.1109/TBME.2013.2246160 (fusion that says nothing where sources disagree).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bedside.signal.resample import Floats

INNER_HZ = 4.0
WINDOW_S = 32.0
WINDOW = int(WINDOW_S * INNER_HZ)
MISSING_SHARE_MAX = 0.1
LOW_HZ, HIGH_HZ = 0.13, 0.75  # 8 to 45 breaths a minute from derived signals: slower, blood pressure's own waves
# (Mayer, 0.1 Hz) move size and distance of beats alike, and two sources would agree on them
DIRECT_LOW_HZ, DIRECT_HIGH_HZ = 0.08, 1.1  # 5 to 66 from a waveform of its own
PADDED = 512
BESIDE_HZ = 0.045  # a peak's own power lies within this
QUALITY_MIN = 0.45  # share of the band's power that one rate (and its double) explains
DIRECT_QUALITY_MIN = 0.5
COUNT_APART = 0.15  # spectrum and count agree within this share, or
COUNT_APART_PER_MIN = 1.5
AGREE_PER_MIN = 2.0  # two derived sources agree within this
DERIVED_MIN = 2  # so many of them must
CONTINUOUS = "_baseline"
AGAINST = 0.3  # of their weight: so much may speak for other rates
BEATS_PER_BREATH = 2.1  # fewer beats in a breath cannot carry its rate
BESIDE_HEART = 0.85  # of the heart's rate: faster than that a baseline moves with the heart itself
JOINT_MIN = 0.4  # share of the mean spectrum of all derived sources that lies beside its peak ...
JOINT_PER_MIN = 2.5  # ... which is the rate that is given

APNOEA_S = 20.0
BREATH_S = 3.0  # a breath moves the waveform within so long
BREATH_SHARE = 0.3  # by so much of a usual breath
USUAL_LEARN = 0.15

DIRECT = "waveform"


class Breathing(NamedTuple):
    """What one source says of the last 32 s. `rate_per_min` None: it cannot tell."""

    rate_per_min: float | None
    quality: float  # 0..1
    reason: str | None  # missing weak disagreement fast
    spectrum: tuple[float, ...] = ()  # shares of the band's power up to `HIGH_HZ`; nothing where it cannot be had


class Fused(NamedTuple):
    """One number for all sources. `reason` where there is none: missing, weak or disagreement."""

    rate_per_min: float | None
    quality: float
    sources: tuple[str, ...]
    reason: str | None


_T = np.arange(WINDOW) - 0.5 * (WINDOW - 1)
_FREQUENCY = np.fft.rfftfreq(PADDED, 1.0 / INNER_HZ)
_BINS = int(np.searchsorted(_FREQUENCY, HIGH_HZ, side="right"))
_TAPER = np.hanning(WINDOW + 2)[1:-1]


def breathing(
    window: Floats, *, direct: bool = False, beats_per_min: float | None = None, heart_per_min: float | None = None
) -> Breathing:
    """Rate of breaths in a window of 32 s, shape (128,), 4 a second, NaN where missing; any unit.

    `beats_per_min`: for a source sampled by beats or pulses, their rate: a breath needs more than two.
    `heart_per_min`: for a baseline, the heart's rate, where known: a slow heart moves it too. Raises `ValueError`
    naming `window` when its shape is another.
    """
    if window.shape != (WINDOW,):
        raise ValueError(f"window: expected shape ({WINDOW},), got {window.shape}")
    missing = np.isnan(window)
    if missing.any():
        if missing.mean() > MISSING_SHARE_MAX:
            return Breathing(None, 0.0, "missing")
        window = np.interp(np.arange(WINDOW), np.flatnonzero(~missing), window[~missing])
    low_hz, high_hz = (DIRECT_LOW_HZ, DIRECT_HIGH_HZ) if direct else (LOW_HZ, HIGH_HZ)
    if beats_per_min is not None:
        high_hz = min(high_hz, beats_per_min / 60.0 / BEATS_PER_BREATH)
    if heart_per_min is not None:
        high_hz = min(high_hz, BESIDE_HEART * heart_per_min / 60.0)
    level = window - window.mean()
    level = level - _T * float(_T @ level) / float(_T @ _T)
    if high_hz <= 2 * low_hz or float(np.abs(level).max()) <= 1e-12 * max(1.0, float(np.abs(window).max())):
        return Breathing(None, 0.0, "weak")
    power: Floats = np.square(np.abs(np.fft.rfft(level * _TAPER, PADDED)))
    inside = (low_hz <= _FREQUENCY) & (high_hz >= _FREQUENCY)
    first, end = int(inside.argmax()), int(inside.size - inside[::-1].argmax())
    peak = first + int(power[first:end].argmax())
    spectrum = () if direct else _shares(power, inside)
    if power[peak - 1] >= power[peak]:  # the band's edge: what wanders slower than any breath
        return Breathing(None, 0.0, "weak", spectrum)
    at_hz = _parabola(power, peak) * INNER_HZ / PADDED
    own = (np.abs(_FREQUENCY - at_hz) <= BESIDE_HZ) | (np.abs(_FREQUENCY - 2 * at_hz) <= BESIDE_HZ)
    whole = float(power[inside | (own & (_FREQUENCY <= 2.0))].sum())
    quality = float(power[own].sum()) / whole if whole > 0 else 0.0
    if quality < (DIRECT_QUALITY_MIN if direct else QUALITY_MIN):
        return Breathing(None, quality, "weak", spectrum)
    counted = _counted(level, at_hz, low_hz, high_hz)
    rate = 60.0 * at_hz
    if counted is None or abs(counted - rate) > max(COUNT_APART_PER_MIN, COUNT_APART * rate):
        return Breathing(None, 0.5 * quality, "disagreement", spectrum)
    return Breathing(0.5 * (counted + rate), quality, None, spectrum)


def _shares(power: Floats, inside: NDArray[np.bool_]) -> tuple[float, ...]:
    band = np.where(inside, power, 0.0)[:_BINS]
    return tuple((band / float(band.sum())).tolist())


def _parabola(power: Floats, peak: int) -> float:
    if not 0 < peak < power.size - 1:
        return float(peak)
    before, here, after = float(power[peak - 1]), float(power[peak]), float(power[peak + 1])
    bend = before - 2 * here + after
    return peak + (0.5 * (before - after) / bend if bend < 0 else 0.0)


def _counted(level: Floats, at_hz: float, low_hz: float, high_hz: float) -> float | None:
    """Breaths a minute by counting: rises through zero of the band, each after a fall below a fifth of the spread."""
    spectrum = np.fft.rfft(level)
    frequency = np.arange(spectrum.size) * INNER_HZ / WINDOW
    spectrum[(frequency < 0.6 * low_hz) | (frequency > min(high_hz, max(2.0 * at_hz, 0.4)))] = 0.0
    wave = np.fft.irfft(spectrum, WINDOW)
    edge = 0.2 * float(wave.std())
    side = np.where(wave > edge, 1, np.where(wave < -edge, -1, 0))
    known = np.flatnonzero(side)
    turns = known[1:][(side[known[1:]] > 0) & (side[known[:-1]] < 0)]
    if turns.size < 3:
        return None
    gaps = np.diff(turns)
    if float(gaps.max()) > 2.2 * float(np.median(gaps)):
        return None
    return float(60.0 * INNER_HZ * (turns.size - 1) / int(turns[-1] - turns[0]))


def beat_series(times_s: Floats, values: Floats, end_s: float) -> Floats:
    """A value a beat as a series of 4 a second over the 32 s before `end_s`, shape (128,); NaN in pauses over 3 s.

    `times_s` rising, shape (n,); `values` shape (n,).
    """
    grid = end_s - WINDOW_S + (np.arange(WINDOW) + 0.5) / INNER_HZ
    if times_s.size < 4:
        return np.full(WINDOW, np.nan)
    out = np.interp(grid, times_s, values)
    at = np.clip(np.searchsorted(times_s, grid), 1, times_s.size - 1)
    wide = times_s[at] - times_s[at - 1] > 3.0
    outside = (grid < times_s[0] - 1.5) | (grid > times_s[-1] + 1.5)
    return np.where(wide | outside, np.nan, out)


def robust(values: Floats) -> Floats:
    """Values a beat with those of other beats (ectopic, artefact) held at three spreads from the middle."""
    middle = float(np.median(values)) if values.size else 0.0
    spread = 1.48 * float(np.median(np.abs(values - middle))) if values.size else 0.0
    return np.clip(values, middle - 3 * spread, middle + 3 * spread)


def fuse(sources: Mapping[str, Breathing]) -> Fused:
    """A waveform of its own counts alone; of derived sources two or more must agree, and none be as good against them.

    One of them must be a baseline: sources sampled by beats mistake breaths of more than half the heart's rate for
    slow ones (aliasing), all alike. And the mean spectrum of all, of those too that tell no rate of their own, must
    peak there and nowhere else. The value is the mean of those that agree, by quality.
    """
    direct = sources.get(DIRECT)
    if direct is not None and direct.rate_per_min is not None:
        return Fused(direct.rate_per_min, direct.quality, (DIRECT,), None)
    able = {name: one for name, one in sources.items() if one.rate_per_min is not None}
    best: tuple[float, tuple[str, ...]] = (0.0, ())
    for middle in able.values():
        group = tuple(name for name, one in able.items() if _apart(one, middle) <= AGREE_PER_MIN)
        best = max(best, (sum(able[name].quality for name in group), group))
    total, group = best
    against = sum(one.quality for name, one in able.items() if name not in group)
    seen = any(name.endswith(CONTINUOUS) for name in group)
    if len(group) >= DERIVED_MIN and seen and against < AGAINST * total:
        rate = sum((able[name].rate_per_min or 0.0) * able[name].quality for name in group) / total
        if not _together(list(sources.values()), rate):
            return Fused(None, 0.0, (), "disagreement")
        return Fused(rate, total / len(group), group, None)
    if not seen and len(group) >= DERIVED_MIN:
        return Fused(None, 0.0, (), "weak")
    if not sources or all(one.reason == "missing" for one in sources.values()):
        return Fused(None, 0.0, (), "missing")
    return Fused(None, 0.0, (), "disagreement" if len(able) > 1 else "weak")


def _together(sources: Sequence[Breathing], rate_per_min: float) -> bool:
    """Does the mean spectrum peak beside that rate, and hold much of its power there?"""
    spectra = [one.spectrum for one in sources if one.spectrum]
    if not spectra:
        return True
    mean = np.add.reduce(np.array(spectra)) / len(spectra)
    peak = int(mean.argmax())
    beside = np.abs(_FREQUENCY[:_BINS] - _FREQUENCY[peak]) <= BESIDE_HZ
    near = abs(60.0 * float(_FREQUENCY[peak]) - rate_per_min) <= JOINT_PER_MIN
    return near and float(mean[beside].sum()) >= JOINT_MIN


def _apart(one: Breathing, other: Breathing) -> float:
    return abs((one.rate_per_min or math.inf) - (other.rate_per_min or -math.inf))


@dataclass
class SlowState:
    """Memory of one slow series. Arrays are never written to, so a shallow copy is a fork."""

    pending: Floats
    n: int  # source samples in whole frames
    recent: Floats  # (WINDOW,) newest last


@dataclass(frozen=True, eq=False)
class SlowSeries:
    """Means of a quarter of a second of any wave of 4 to 1000 Hz; the same however the stream is cut."""

    fs_hz: float
    frame: int
    edges: NDArray[np.int64]  # where each quarter begins in a frame
    counts: Floats  # how many samples each has

    @classmethod
    def design(cls, fs_hz: float) -> Self:
        """Raises `ValueError` when `fs_hz` is not within 4..1000 Hz."""
        if not INNER_HZ <= fs_hz <= 1000.0:
            raise ValueError(f"fs_hz: expected {INNER_HZ:g} to 1000 Hz, got {fs_hz!r}")
        frame = round(fs_hz)
        edges = np.ceil(np.arange(int(INNER_HZ)) * frame / INNER_HZ).astype(np.int64)
        return cls(float(fs_hz), frame, edges, np.diff(edges, append=frame).astype(np.float64))

    def initial(self) -> SlowState:
        return SlowState(np.zeros(0), 0, np.full(WINDOW, np.nan))

    def step(self, state: SlowState, block: Floats) -> tuple[SlowState, list[tuple[int, Floats]]]:
        """Take `n` >= 0 samples, NaN where missing; give, for each second that is whole now, its end and the window.

        The end counts source samples; the window is shape (128,), NaN where most of a quarter was missing.
        """
        pending = np.concatenate((state.pending, block))
        whole = pending.size // self.frame * self.frame
        if not whole:
            return replace(state, pending=pending), []
        n, recent, windows = state.n, state.recent, []
        for start in range(0, whole, self.frame):
            second = pending[start : start + self.frame]
            if math.isfinite(float(np.add.reduce(second))):  # nothing is missing: what is below gives the same
                means = np.add.reduceat(second, self.edges) / self.counts
                recent = np.concatenate((recent[means.size :], means))
                n += self.frame
                windows.append((n, recent))
                continue
            seen = ~np.isnan(second)
            counts = np.add.reduceat(seen.astype(np.float64), self.edges)
            sums = np.add.reduceat(np.where(seen, second, 0.0), self.edges)
            means = np.where(2 * counts >= self.frame / INNER_HZ, sums / np.maximum(counts, 1.0), np.nan)
            recent = np.concatenate((recent[means.size :], means))
            n += self.frame
            windows.append((n, recent))
        return SlowState(pending[whole:].copy(), n, recent), windows


class ApnoeaState(NamedTuple):
    """Memory of `ApnoeaWatch`: seconds since the last breath, and how much a usual one moves the waveform."""

    since_s: float
    usual: float  # 0: not known yet
    judged: bool  # could this second be judged?


class ApnoeaWatch:
    """Evidence that breaths have ceased, from a waveform of its own and from nothing else.

    Armed once breaths were counted with good quality; a second with a missing quarter, or without contact, tells
    nothing: the count of silent seconds stands still and `judged` is False.
    """

    def initial(self) -> ApnoeaState:
        return ApnoeaState(0.0, 0.0, False)

    def step(self, state: ApnoeaState, window: Floats, counted: Breathing | None, contact: bool) -> ApnoeaState:
        """One more second. `window` as of `SlowSeries`; `counted`: what `breathing` said now, None: not asked now."""
        newest = window[-int(BREATH_S * INNER_HZ) :]
        if not contact or np.isnan(newest).any():
            return state._replace(judged=False)
        moved = float(newest.max() - newest.min())
        usual = state.usual
        if counted is not None and counted.rate_per_min is not None:
            half = window[-WINDOW // 2 :]
            spread = float(np.nanpercentile(half, 95) - np.nanpercentile(half, 5))
            usual = spread if usual == 0.0 else usual + USUAL_LEARN * (spread - usual)
        if usual == 0.0:
            return ApnoeaState(0.0, 0.0, False)
        if moved > BREATH_SHARE * usual:
            return ApnoeaState(0.0, usual, True)
        return ApnoeaState(max(state.since_s, BREATH_S - 1.0) + 1.0, usual, True)

    def apnoea(self, state: ApnoeaState) -> bool | None:
        """True: no breath for 20 s; False: breaths; None: cannot judge."""
        return state.since_s >= APNOEA_S if state.judged else None


def heart_rate(times_s: Sequence[float], end_s: float) -> float | None:
    """Beats or pulses a minute over the last 32 s, by the median interval; None where there are fewer than eight."""
    times = [at for at in times_s if end_s - WINDOW_S - 3.0 < at <= end_s]
    return 60.0 / float(np.median(np.diff(times))) if len(times) >= 8 else None


def sources_of_beats(
    name: str, times_s: Sequence[float], heights: Sequence[float], end_s: float
) -> dict[str, Breathing]:
    """What the size and the distance of beats or pulses (`NAME_amplitude`, `NAME_interval`) say of the last 32 s."""
    times, sizes = np.array(times_s, np.float64), np.array(heights, np.float64)
    kept = (times > end_s - WINDOW_S - 3.0) & (times <= end_s)
    times, sizes = times[kept], sizes[kept]
    if times.size < 8:
        nothing = Breathing(None, 0.0, "missing")
        return {f"{name}_amplitude": nothing, f"{name}_interval": nothing}
    gaps = np.diff(times)
    beats_per_min = 60.0 / float(np.median(gaps))
    amplitude = beat_series(times, robust(sizes), end_s)
    interval = beat_series(times[1:], robust(gaps), end_s)
    return {
        f"{name}_amplitude": breathing(amplitude, beats_per_min=beats_per_min),
        f"{name}_interval": breathing(interval, beats_per_min=beats_per_min),
    }
