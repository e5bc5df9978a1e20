"""Rules over single beats of one lead: ventricular runs and tachycardia, ectopics a minute.

Beats come about a second after their R peak, in order; unjudged beats (class Q) neither make nor break a run.
Pure: `elapsed_us` is the engine's own time at which a beat was heard.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from bedside.alarms.signs import Sign
from bedside.alarms.table import ConditionTable
from bedside.core.events import Beat, BeatClass
from bedside.core.time import US_PER_S

SILENCE_S = 5.0
"""Without a beat for so long every run is over."""
TOLERANCE_BPM = 1e-6  # a rate that is exactly at its limit may come out of the division just below
ENDING_BEATS = 2  # so many supraventricular beats in a row end a tachycardia: one may be a fusion or a mistake


@dataclass(slots=True)
class _Run:
    """Consecutive ventricular beats; `others` counts the judged other beats since the last of them."""

    times_us: list[int] = field(default_factory=list)
    intervals_s: deque[float] = field(default_factory=lambda: deque(maxlen=64))
    beats: int = 0
    fastest_bpm: float = 0.0
    others: int = 0
    tachycardia: bool = False
    model: str | None = None
    probability: float = 1.0


class BeatRules:
    """What the beats of one patient say. One lead's beats: the engine feeds those of the leading stream."""

    def __init__(self, table: ConditionTable) -> None:
        self._vt = table["ventricular_tachycardia"].trigger
        self._short = table["ventricular_run"].trigger
        self._frequent = table["frequent_ventricular_beats"].trigger
        self._run = _Run()
        self._ectopics: deque[int] = deque(maxlen=1000)
        self._on: set[str] = set()
        self._heard_us: int | None = None
        self._last: Beat | None = None

    def beat(self, beat: Beat, elapsed_us: int) -> list[Sign]:
        """One more beat."""
        self._heard_us, self._last = elapsed_us, beat
        signs = self._runs(beat)
        if beat.beat_class is BeatClass.V:
            self._ectopics.append(elapsed_us)
        return signs + self._count(elapsed_us)

    def tick(self, elapsed_us: int) -> list[Sign]:
        """Time passed: runs end in silence."""
        signs = self._count(elapsed_us)
        if self._heard_us is not None and elapsed_us - self._heard_us > SILENCE_S * US_PER_S:
            signs += self.give_up()
        return signs

    def give_up(self) -> list[Sign]:
        """No more is known of the heart now (silence, lead off): nothing of before lasts on."""
        signs = self._end_run()
        self._heard_us = None
        return signs

    # ------------------------------------------------------------------ runs of ventricular beats

    def _runs(self, beat: Beat) -> list[Sign]:
        run = self._run
        if beat.beat_class is BeatClass.V:
            ended = self._end_run() if run.beats and beat.rr_s is None else []
            self._run.others = 0
            return ended + self._extend(self._run, beat)
        if beat.beat_class is BeatClass.Q or run.beats == 0:
            return []
        run.others += 1
        if run.tachycardia and run.others < ENDING_BEATS:
            return []
        return self._end_run()

    def _extend(self, run: _Run, beat: Beat) -> list[Sign]:
        run.beats += 1
        run.times_us = [*run.times_us[:1], beat.start_us]
        if run.beats == 1:
            run.intervals_s.clear()
        elif beat.rr_s is not None:
            run.intervals_s.append(beat.rr_s)
        run.model = beat.model
        run.probability = min(run.probability, beat.probability if beat.probability is not None else 1.0)
        rate_bpm = _rate_bpm(list(run.intervals_s), int(self._vt["beats"]) - 1)
        if rate_bpm is None:
            return []
        run.fastest_bpm = max(run.fastest_bpm, rate_bpm)
        if rate_bpm < self._vt["rate_bpm"] - TOLERANCE_BPM and not run.tachycardia:
            return []
        run.tachycardia = True
        return [self._vt_sign(run, on=True)]

    def _end_run(self) -> list[Sign]:
        run, self._run = self._run, _Run()
        if run.tachycardia:
            self._ectopics.clear()  # what VT has told is not told again as frequent ectopics
            return [self._vt_sign(run, on=False)]
        least = int(self._short["beats"])
        if run.beats < least:
            return []
        rate_bpm = _rate_bpm(list(run.intervals_s), least - 1, fastest=True)
        if rate_bpm is None or rate_bpm < self._short["rate_bpm"] - TOLERANCE_BPM:
            return []
        return [
            self._sign(
                "ventricular_run", True, run.times_us[0], run.times_us[-1], model=run.model,
                beats=run.beats, rate_bpm=rate_bpm, limit_beats=least, limit_bpm=self._short["rate_bpm"],
                probability_min=run.probability,
            )
        ]  # fmt: skip

    def _vt_sign(self, run: _Run, on: bool) -> Sign:
        return self._sign(
            "ventricular_tachycardia", on, run.times_us[0], None if on else run.times_us[-1], model=run.model,
            beats=run.beats, rate_bpm=run.fastest_bpm, limit_beats=int(self._vt["beats"]),
            limit_bpm=self._vt["rate_bpm"], probability_min=run.probability,
        )  # fmt: skip

    # ------------------------------------------------------------------ ectopics a minute

    def _count(self, elapsed_us: int) -> list[Sign]:
        window_us = self._frequent["window_s"] * US_PER_S
        while self._ectopics and elapsed_us - self._ectopics[0] > window_us:
            self._ectopics.popleft()
        kind, count, limit = "frequent_ventricular_beats", len(self._ectopics), int(self._frequent["count"])
        bound = limit - self._frequent["hysteresis"] if kind in self._on else limit
        on = count >= bound
        if self._last is None or (not on and kind not in self._on):
            return []
        (self._on.add if on else self._on.discard)(kind)
        at_us = self._last.start_us
        if not on:
            return [self._sign(kind, False, at_us, at_us)]
        return [self._sign(kind, True, at_us, None, count=count, limit=limit, model=self._last.model)]

    def _sign(
        self, kind: str, on: bool, onset_us: int, end_us: int | None, model: str | None = None, **fields: float
    ) -> Sign:
        last = self._last
        return Sign(
            kind=kind,
            on=on,
            onset_us=onset_us,
            end_us=end_us,
            stream=last.stream if last is not None else None,
            simulated=last.simulated if last is not None else False,
            fields={**fields, **({"model": model} if model is not None else {})},
        )


def _rate_bpm(intervals_s: list[float], n: int, *, fastest: bool = False) -> float | None:
    """The mean rate of the newest `n` intervals (`fastest`: of the fastest `n` in a row); None when there are fewer."""
    if n < 1 or len(intervals_s) < n:
        return None
    spans_s = [sum(intervals_s[k : k + n]) for k in range(len(intervals_s) - n + 1)]
    return 60.0 * n / (min(spans_s) if fastest else spans_s[-1])
