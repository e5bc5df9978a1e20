"""The waves of one lead, live: the delineator fed in pieces of 2 s, and its summaries as numbers worth saying.

Pure; `lead.py` feeds it, `ecg.py` says what it gives.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

import numpy as np

from bedside.core.codes import Code
from bedside.signal.delineation import Delineator, JudgedSecond, WaveInput, WaveSummary
from bedside.signal.intervals import Measures
from bedside.signal.lead import INTERNAL_HZ, LeadOutput, QualitySecond

log = logging.getLogger(__name__)

GATHERED = 5  # groups of two frames: 2 s
AGAIN_S = 30.0  # what has not changed is said again after so long
CHANGE = {
    Code.PR_INTERVAL: 10.0,
    Code.QRS_DURATION: 6.0,
    Code.QT_INTERVAL: 12.0,
    Code.QTC_FRIDERICIA: 12.0,
    Code.ST_LEVEL: 0.03,
    Code.ST_CHANGE: 0.03,
}
"""What counts as a change, in the code's unit: about one sample of 125 Hz, and the step of an ST display."""
FAST_BPM = 120.0  # above it the T wave reaches J+80, and ST is read at J+60


def wave_input(
    output: LeadOutput, fs_hz: float, quality: tuple[QualitySecond, ...], retracted: tuple[int, ...]
) -> WaveInput:
    """An output's samples and peaks, in internal samples.

    `quality`: the verdicts that are believed. `retracted`: clean indices of the peaks that were taken back; under
    250 Hz a source index may name either of two.
    """
    ratio = INTERNAL_HZ / fs_hz
    return WaveInput(
        raw_mv=output.raw_mv,
        first=output.clean_first,
        peaks=tuple(peak.clean_index for peak in output.peaks),
        settled=int(output.settled_index * ratio),
        seconds=tuple(
            JudgedSecond(round(one.first_index * ratio), round((one.first_index + one.n_samples) * ratio), one.usable)
            for one in quality
        ),
        retracted=retracted,
    )


def joined(news: Sequence[WaveInput]) -> WaveInput:
    """Consecutive inputs, at least one, as one."""
    return WaveInput(
        raw_mv=np.concatenate([one.raw_mv for one in news]),
        first=news[0].first,
        peaks=tuple(itertools.chain.from_iterable(one.peaks for one in news)),
        settled=news[-1].settled,
        seconds=tuple(itertools.chain.from_iterable(one.seconds for one in news)),
        retracted=tuple(itertools.chain.from_iterable(one.retracted for one in news)),
    )


class WaveWatch:
    """One lead's delineator. A fault in it is logged and ends it alone: the summary then says `failed`, once."""

    def __init__(self, design: Delineator | None = None) -> None:
        self._design: Delineator | None = design if design is not None else Delineator.design()
        self._state = self._design.initial()
        self._held: list[WaveInput] = []

    def take(self, new: WaveInput) -> tuple[WaveSummary, ...]:
        """Take what is new; give the summaries that fell due."""
        self._held.append(new)
        return self._said(last=False) if len(self._held) >= GATHERED else ()

    def close(self) -> tuple[WaveSummary, ...]:
        """The stream has ended."""
        return self._said(last=True) if self._held else ()

    def _said(self, last: bool) -> tuple[WaveSummary, ...]:
        new, self._held = joined(self._held), []
        if self._design is None:
            return ()
        try:
            self._state, output = self._design.step(self._state, new)
            late = self._design.finish(self._state).summaries if last else ()
        except Exception as error:  # intervals that fail must not end the monitoring of the rhythm
            log.exception("delineation failed", extra={"error": type(error).__name__})
            self._design = None
            return (WaveSummary(new.first, 0, "failed", Measures(), None, None, None, None),)
        return (*output.summaries, *late)


class WaveNumbers:
    """Which numbers of a summary are news: those that changed, and those not said for half a minute."""

    def __init__(self) -> None:
        self._said: dict[Code, tuple[int, float | None, str | None]] = {}

    def news(self, summary: WaveSummary) -> list[tuple[Code, float | None, str | None]]:
        """Code, value in its unit (None: withheld), and why it is withheld."""
        found = []
        for code, value, reason in _numbers(summary):
            at, before, why = self._said.get(code, (None, None, None))
            same = at is not None and reason == why and (value is None) == (before is None)
            if same and value is not None and before is not None:
                same = abs(value - before) < CHANGE[code]
            if at is None or not same or summary.at - at >= AGAIN_S * INTERNAL_HZ:
                self._said[code] = (summary.at, value, reason)
                found.append((code, value, reason))
        return found


def _numbers(summary: WaveSummary) -> list[tuple[Code, float | None, str | None]]:
    measures, qtc = summary.measures, summary.qtc
    fast = qtc is not None and 60.0 / qtc.rr_s > FAST_BPM
    no_p = summary.p_share is not None and summary.p_share < 0.5
    values = (
        (Code.PR_INTERVAL, measures.pr_s, 1000.0, "no_p_wave" if no_p else "cannot_judge"),
        (Code.QRS_DURATION, measures.qrs_s, 1000.0, "cannot_judge"),
        (Code.QT_INTERVAL, measures.qt_s, 1000.0, "no_t_end"),
        (Code.QTC_FRIDERICIA, qtc.fridericia_s if qtc is not None else None, 1000.0, "no_t_end"),
        (Code.ST_LEVEL, measures.st60_mv if fast else measures.st80_mv, 1.0, "cannot_judge"),
        (Code.ST_CHANGE, summary.st_change_mv, 1.0, "learning"),
    )
    return [
        (code, value * scale, None) if value is not None else (code, None, summary.reason or why)
        for code, value, scale, why in values
    ]
