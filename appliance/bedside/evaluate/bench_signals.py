"""The heart rate bench of IEC 60601-2-27: generated signals through the live path, what is asked beside what we give.

Each signal goes as counts of a 130 Hz strap, in blocks of 0.5 s, into `bedside.alarms.watch.PatientWatch` on the
virtual clock: what is read is the heart rate that would stand on the screen and the alarms that would sound, at the
time at which they would. The figures asked are those that manufacturers' manuals declare for the standard's clauses.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bedside.alarms.watch import PatientWatch
from bedside.core.codes import Code, StreamKind
from bedside.core.events import Alarm, AlarmClass, Json, Numeric, Quality
from bedside.core.ids import IdSource
from bedside.core.samples import Block, Floats, StreamInfo
from bedside.core.time import US_PER_S
from bedside.evaluate.analyze import TICK_US, load_classifier
from bedside.evaluate.feeding import START_US
from bedside.monitor.lead import BeatJudge
from bedside.simulation import bench_signals as bench

RATE_HZ = 130.0
BLOCK_S = 0.5
MV_PER_COUNT = 0.001
TACHYCARDIA_ALARMS = ("ventricular_tachycardia", "ventricular_fibrillation", "extreme_tachycardia", "tachycardia")
STEPPED_WITHIN = 0.05  # a step counts as shown once the rate stays within so much of the new one


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the bench. `met` None: nothing is asked, the figure is stated."""

    clause: str
    signal: str
    asked: str
    given: str
    met: bool | None

    def document(self) -> Json:
        return {
            "clause": self.clause,
            "signal": self.signal,
            "asked": self.asked,
            "given": self.given,
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """What a screen showed. Times in s since the signal's first sample, when they became known."""

    rates: tuple[tuple[float, float | None, str | None], ...]  # when, 1/min, why none
    alarms: tuple[tuple[float, str], ...]  # physiological ones, when first signalled
    rejected_s: int  # changes of the quality to unusable

    def rate_at(self, time_s: float) -> float | None:
        """What stood on the screen at `time_s`."""
        shown = [bpm for known_s, bpm, _ in self.rates if known_s <= time_s]
        return shown[-1] if shown else None

    def between(self, first_s: float, last_s: float) -> list[float | None]:
        """Every rate that came up between the two times."""
        return [bpm for known_s, bpm, _ in self.rates if first_s <= known_s <= last_s]

    def alarm_after(self, onset_s: float, kinds: Sequence[str]) -> tuple[float, str] | None:
        """Seconds from `onset_s` to the first alarm of these kinds, and which."""
        heard = [(at_s - onset_s, kind) for at_s, kind in self.alarms if at_s >= onset_s and kind in kinds]
        return min(heard, default=None)


def show(lead_mv: Floats, judge: BeatJudge, fs_hz: float = RATE_HZ) -> Shown:
    """Run a lead, shape (n,), mV, through one patient's watch on the virtual clock."""
    now_us = START_US
    ids = IdSource(lambda: now_us, random.Random(1))  # noqa: S311 (names, not secrets)
    info = StreamInfo(
        id="bench", patient="bench", wearable="bench", kind=StreamKind.ECG, label="II",
        rate_hz=fs_hz, unit="mV", unit_per_count=MV_PER_COUNT, simulated=True,
    )  # fmt: skip
    watch = PatientWatch("bench", ids, judge, True)
    counts = np.rint(lead_mv / MV_PER_COUNT).astype(np.int32)
    size = round(BLOCK_S * fs_hz)
    rates: list[tuple[float, float | None, str | None]] = []
    alarms: dict[str, tuple[float, str]] = {}
    rejected = 0
    for first in range(0, counts.size, size):
        start_us = START_US + round(first * US_PER_S / fs_hz)
        block = Block(
            stream=info, first_index=first, start_us=start_us, rate_hz=fs_hz, counts=counts[first : first + size]
        )
        now_us = block.end_us
        events = [*watch.feed(block).events, *watch.advance(now_us // TICK_US * TICK_US).events]
        known_s = (now_us - START_US) / US_PER_S
        for event in events:
            if isinstance(event, Numeric) and event.code is Code.HEART_RATE:
                rates.append((known_s, event.value, event.reason))
            elif isinstance(event, Quality) and not event.usable:
                rejected += 1
            elif isinstance(event, Alarm) and event.alarm_class is AlarmClass.PHYSIOLOGICAL:
                alarms.setdefault(event.alarm, (known_s, event.kind))
    return Shown(tuple(rates), tuple(alarms.values()), rejected)


def run() -> list[Row]:
    """The whole bench, in the standard's order."""
    judge, _ = load_classifier()
    rows: list[Row] = []
    for part in (_accuracy, _window, _irregular, _steps, _tall_t, _disturbed, _pacing, _tachycardia, _standstill):
        rows += part(lambda lead_mv: show(lead_mv, judge))
    return rows


def as_table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = ["| clause | signal | standard asks | we give | |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        verdict = "stated" if row.met is None else "met" if row.met else "**not met**"
        lines.append(f"| {row.clause} | {row.signal} | {row.asked} | {row.given} | {verdict} |")
    asked = [row for row in rows if row.met is not None]
    met = sum(1 for row in asked if row.met)
    lines += ["", f"{met} of {len(asked)} met, at {RATE_HZ:g} samples a second in blocks of {BLOCK_S:g} s."]
    return "\n".join(lines)


Show = Callable[[Floats], Shown]
ACCURACY = "201.12.1.101.15"
AVERAGING = "201.7.9.2.9.101 b"


def _tolerance(bpm: float) -> float:
    """The greater of 10 % and 5/min."""
    return max(0.1 * bpm, 5.0)


def _worst(shown: Shown, bpm: float, from_s: float, to_s: float) -> float | None:
    """Largest error of the rate while it should stand; None when it was blank at any time."""
    rates = shown.between(from_s, to_s)
    seen = [rate for rate in rates if rate is not None]
    return max(abs(rate - bpm) for rate in seen) if seen and len(seen) == len(rates) else None


def _accuracy(look: Show) -> list[Row]:
    rows = []
    for bpm in (30.0, 40.0, 60.0, 80.0, 120.0, 150.0, 180.0, 200.0, 250.0):
        worst, blank = 0.0, []
        for qrs_mv, qrs_s in ((0.5, 0.07), (1.0, 0.08), (5.0, 0.12), (-1.0, 0.1)):
            if qrs_s > 0.5 * 60.0 / bpm:
                continue
            shown = look(bench.ecg_mv(bench.regular(bpm, 40.0, qrs_mv=qrs_mv, qrs_s=qrs_s), 40.0, RATE_HZ))
            error = _worst(shown, bpm, 20.0, 38.0)
            if error is None:
                blank.append(f"{qrs_mv:g} mV {1000 * qrs_s:.0f} ms")
            else:
                worst = max(worst, error)
        given = f"within {worst:.1f}/min" + (f"; no rate at {', '.join(blank)}" if blank else "")
        met = not blank and worst <= _tolerance(bpm)
        rows.append(Row(ACCURACY, f"rate {bpm:g}/min; QRS 0.5 to 5 mV, 70 to 120 ms, and inverted",
                        f"±{_tolerance(bpm):g}/min (10 % or 5/min)", given, met))  # fmt: skip
    return rows


def _window(look: Show) -> list[Row]:
    """Which QRS count: 0.5 to 5 mV of 70 to 120 ms must; 0.15 mV or 10 ms must not."""
    rows = []
    for qrs_s in (0.04, 0.07, 0.12):
        low = [mv for mv in (0.2, 0.3, 0.5, 1.0, 2.0, 5.0) if _counted(look, mv, qrs_s)]
        asked = "0.5 to 5 mV seen" if qrs_s >= 0.07 else "(adults: not asked)"
        met = {0.5, 1.0, 2.0, 5.0} <= set(low) if qrs_s >= 0.07 else None
        rows.append(Row(ACCURACY, f"QRS of {1000 * qrs_s:.0f} ms at 80/min", asked,
                        "seen at " + ", ".join(f"{mv:g}" for mv in low) + " mV", met))  # fmt: skip
    for qrs_mv, qrs_s in ((0.15, 0.08), (1.0, 0.01)):
        rate = look(bench.ecg_mv(bench.regular(80.0, 40.0, qrs_mv=qrs_mv, qrs_s=qrs_s, t_mv=0.0), 40.0, RATE_HZ))
        blank = rate.rate_at(38.0) is None
        rows.append(Row(ACCURACY, f"{qrs_mv:g} mV of {1000 * qrs_s:.0f} ms", "not counted",
                        "no rate" if blank else f"{rate.rate_at(38.0):.0f}/min", blank))  # fmt: skip
    return rows


def _counted(look: Show, qrs_mv: float, qrs_s: float) -> bool:
    shown = look(bench.ecg_mv(bench.regular(80.0, 40.0, qrs_mv=qrs_mv, qrs_s=qrs_s), 40.0, RATE_HZ))
    error = _worst(shown, 80.0, 20.0, 38.0)
    return error is not None and error <= _tolerance(80.0)


def _irregular(look: Show) -> list[Row]:
    rows = []
    for name, make, bpm in (
        ("3a ventricular bigeminy", bench.bigeminy, 80.0),
        ("3b slow alternating bigeminy", bench.slow_alternating, 60.0),
        ("3c rapid alternating bigeminy", bench.rapid_alternating, 120.0),
        ("3d bidirectional systoles", bench.bidirectional, 90.0),
    ):
        shown = look(bench.ecg_mv(make(40.0), 40.0, RATE_HZ))
        rates = [rate for rate in shown.between(20.0, 38.0) if rate is not None]
        blank = len(rates) < len(shown.between(20.0, 38.0)) or not rates
        given = "no rate at times" if blank else f"{min(rates):.0f} to {max(rates):.0f}/min"
        met = not blank and all(abs(rate - bpm) <= _tolerance(bpm) for rate in rates)
        rows.append(Row("201.7.9.2.9.101 b 4", name, f"disclosed; {bpm:g}/min counts every QRS", given, met))
    return rows


def _steps(look: Show) -> list[Row]:
    rows = []
    for to_bpm in (120.0, 40.0):
        lead_mv = bench.ecg_mv(bench.step(80.0, to_bpm, 30.0, 70.0), 70.0, RATE_HZ)
        change_s = bench.regular(80.0, 30.0)[-1].at_s  # from there on intervals are new
        shown = look(lead_mv)
        off = [
            known_s
            for known_s, bpm, _ in shown.rates
            if change_s <= known_s < 68.0 and (bpm is None or abs(bpm - to_bpm) > STEPPED_WITHIN * to_bpm)
        ]
        later = [known_s for known_s, _, _ in shown.rates if known_s > max(off, default=change_s)]
        took_s = later[0] - change_s if later else float("inf")
        rows.append(Row("201.7.9.2.9.101 b 5", f"step 80 to {to_bpm:g}/min", "at most 10 s",
                        f"{took_s:.1f} s", took_s <= 10.0))  # fmt: skip
    return rows


def _tall_t(look: Show) -> list[Row]:
    highest = 0.0
    for t_mv in (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 2.0):
        shown = look(bench.ecg_mv(bench.regular(80.0, 40.0, qrs_s=0.1, t_mv=t_mv), 40.0, RATE_HZ))
        error = _worst(shown, 80.0, 20.0, 38.0)
        if error is None or error > _tolerance(80.0):
            break
        highest = t_mv
    return [Row("201.12.1.101.17", "T wave of 180 ms, QT 350 ms, QRS 1 mV 100 ms, 80/min", "1.2 mV not counted",
                f"{highest:g} mV not counted", highest >= 1.2)]  # fmt: skip


def _disturbed(look: Show) -> list[Row]:
    rows = []
    clean_mv = bench.ecg_mv(bench.regular(80.0, 40.0, qrs_mv=0.5, qrs_s=0.07), 40.0, RATE_HZ)
    for hz in (50.0, 60.0):
        for swing_mv in (0.1, 1.0):
            shown = look(clean_mv + bench.mains_mv(clean_mv.size, RATE_HZ, hz, swing_mv))
            error = _worst(shown, 80.0, 20.0, 38.0)
            given = "no rate at times" if error is None else f"within {error:.1f}/min"
            asked = "no change" if swing_mv == 0.1 else "(not asked)"
            met = (error is not None and error <= _tolerance(80.0)) if swing_mv == 0.1 else None
            rows.append(Row("201.12.1.101.12", f"mains {swing_mv:g} mV peak to peak at {hz:g} Hz on a QRS of 0.5 mV",
                            asked, given, met))  # fmt: skip
    shown = look(clean_mv + bench.drift_mv(clean_mv.size, RATE_HZ))
    error = _worst(shown, 80.0, 20.0, 38.0)
    rows.append(Row("201.12.1.101.12", "drift: triangle of 4 mV at 0.1 Hz on a QRS of 0.5 mV", "no change",
                    "no rate at times" if error is None else f"within {error:.1f}/min",
                    error is not None and error <= _tolerance(80.0)))  # fmt: skip
    return rows


def _pacing(look: Show) -> list[Row]:
    """A wearable of 130 samples a second cannot resolve a pacing pulse: nothing is claimed, what happens is stated."""
    rows = []
    for pulse_mv, pulse_s in ((2.0, 0.0001), (2.0, 0.002), (200.0, 0.0005), (700.0, 0.002)):
        at_s = [0.3 + 0.75 * k for k in range(54)]
        shown = look(bench.pacing_mv(at_s, 40.0, RATE_HZ, pulse_mv, pulse_s))
        rate = shown.rate_at(38.0)
        given = "no rate" if rate is None else f"counted, {rate:.0f}/min"
        rows.append(Row("201.12.1.101.13", f"pulses of {pulse_mv:g} mV, {1000 * pulse_s:g} ms, no QRS (80/min)",
                        "disclosed: cannot be judged below 1000 samples/s", given, None))  # fmt: skip
    return rows


def _tachycardia(look: Show) -> list[Row]:
    rows = []
    for name, bpm, size_mv in (("4a, 206/min, 1 mV", 206.0, 1.0), ("4b, 195/min, 2 mV", 195.0, 2.0)):
        for words, gain in (("half", 0.5), ("as it is", 1.0), ("double", 2.0)):
            times, kinds = [], set()
            for shift_s in (0.0, 0.19, 0.37):  # where in a block it begins must not matter
                beats = bench.tachycardia(bpm, size_mv * gain, 30.0 + shift_s, 55.0)
                onset_s = next(beat.at_s for beat in beats if beat.qrs_s > bench.QRS_S)
                heard = look(bench.ecg_mv(beats, 55.0, RATE_HZ)).alarm_after(onset_s, TACHYCARDIA_ALARMS)
                times.append(heard[0] if heard else float("inf"))
                kinds |= {heard[1]} if heard else set()
            given = f"{min(times):.1f} to {max(times):.1f} s ({', '.join(sorted(kinds)).replace('_', ' ')})"
            rows.append(Row("201.7.9.2.9.101 b 6", f"{name}, {words}", "disclosed; at most 10 s",
                            given if kinds else "no alarm", max(times) <= 10.0))  # fmt: skip
    return rows


def _standstill(look: Show) -> list[Row]:
    lead_mv = bench.ecg_mv(bench.regular(80.0, 30.0), 50.0, RATE_HZ)
    last_s = bench.regular(80.0, 30.0)[-1].at_s
    heard = look(lead_mv).alarm_after(last_s, ("asystole",))
    given = f"{heard[0]:.1f} s" if heard else "no alarm"
    return [Row("201.12.1.101", "the heart stops after 30 s of 80/min", "alarm within 10 s", given,
                heard is not None and heard[0] <= 10.0)]  # fmt: skip
