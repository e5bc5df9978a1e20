"""What the leads of one patient say of each other: is a tachycardia seen on all that can be read, or on one alone?

Each lead is analysed alone; a heart beats on all of them. A run of ventricular beats that a second readable lead does
not show is that lead's trouble; one that both show, though neither surely, is a tachycardia. `Leads` keeps the newest
beats of each lead with how ventricular they are, and where the lead could not be read. It gives opinions in words for
the screen and never decides. Pure; memory is bounded. How the numbers were chosen: README.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from bedside.alarms.signs import Sign
from bedside.alarms.table import ConditionTable
from bedside.core.events import Beat, BeatClass, Quality
from bedside.core.time import US_PER_S

BEATS_KEPT = 40
TOGETHER_US = 150_000
"""Peaks of one beat on two leads lie no further apart (EC57's window)."""
BESIDE_US = 500_000
"""So much before and behind a run a lead must be readable for its beats to count there."""
ENOUGH_BEATS = 3
"""So many beats of another lead within a run confirm it,"""
DENYING_BEATS = 2
"""and so many deny it: where it is slower than the run, few of its beats fall there."""
VENTRICULAR = 0.5
"""Mean probability of being ventricular from which a lead agrees,"""
LEADING = 0.55
"""and asked of the one whose run it is; of the patient's own beats it is far lower."""
DENIES = 0.2
"""Mean probability below which a readable lead denies a run that another readable lead shows, for its own beats are
surely none. Above it says nothing. Where the run's own lead cannot be read, it denies below `VENTRICULAR`."""
NOISES = frozenset({"motion", "muscle", "mains", "saturated"})
"""Disturbances that reach all leads of a body; a lead that is off or silent says nothing of another."""
RECENT_US = 5 * US_PER_S
LEADS_MAX = 32
NEWEST = 8
"""Runs that end within so many of the newest beats are looked at when one is doubted."""


@dataclass(frozen=True, slots=True)
class HeardBeat:
    """One beat of a lead; `ventricular` 0 to 1; `rr_s` None: a gap lies before it."""

    at_us: int
    ventricular: float
    rr_s: float | None


@dataclass(slots=True)
class _Lead:
    label: str
    beats: deque[HeardBeat] = field(default_factory=lambda: deque(maxlen=BEATS_KEPT))
    unread: deque[tuple[int, int | None, str]] = field(default_factory=lambda: deque(maxlen=16))
    known: bool = False  # its quality was told
    doubt: str | None = None  # of its newest run

    def readable(self, first_us: int, last_us: int) -> bool:
        """Could it be read throughout?"""
        return self.known and not any(self._unread(first_us, last_us))

    def disturbed(self, first_us: int, last_us: int) -> bool:
        return any(reason in NOISES for reason in self._unread(first_us, last_us))

    def within(self, first_us: int, last_us: int) -> list[float]:
        """How ventricular its beats in that time are."""
        return [one.ventricular for one in self.beats if first_us - TOGETHER_US <= one.at_us <= last_us + TOGETHER_US]

    def _unread(self, first_us: int, last_us: int) -> Iterator[str]:
        for start_us, end_us, reason in self.unread:
            if start_us < last_us + BESIDE_US and (end_us is None or end_us > first_us - BESIDE_US):
                yield reason


@dataclass(frozen=True, slots=True)
class _Run:
    """As many beats in a row as make a tachycardia, fast enough for one."""

    first_us: int
    last_us: int
    rate_bpm: float
    ventricular: float


class Leads:
    """The ECG leads of one patient, by stream."""

    def __init__(self, table: ConditionTable) -> None:
        trigger = table["ventricular_tachycardia"].trigger
        self._needed, self._rate_bpm = int(trigger["beats"]), trigger["rate_bpm"]
        self._leads: dict[str, _Lead] = {}
        self._confirmed: _Run | None = None
        self._others = 0  # beats since the confirmed run's last
        self._beats = 0  # of the confirmed run

    def name(self, stream: str, label: str) -> None:
        """Make a lead known by its label."""
        if stream in self._leads or len(self._leads) < LEADS_MAX:
            self._leads.setdefault(stream, _Lead(label)).label = label

    def quality(self, quality: Quality) -> None:
        """The quality of a lead changed."""
        lead = self._lead(quality.stream)
        if lead is None:
            return
        lead.known = True
        if lead.unread and lead.unread[-1][1] is None:
            start_us, _, reason = lead.unread.pop()
            lead.unread.append((start_us, max(quality.start_us, start_us), reason))
        if not quality.usable:
            lead.unread.append((quality.start_us, None, quality.reason or "unknown"))

    def beat(self, beat: Beat) -> list[Sign]:
        """One more beat of any lead; whether a tachycardia that several leads show is there."""
        lead = self._lead(beat.stream)
        if lead is None:
            return []
        lead.beats.append(HeardBeat(beat.start_us, _ventricular(beat), beat.rr_s))
        if len(self._leads) < 2:
            return []
        return self._follow(beat, self._newest_confirmed(beat.start_us))

    def doubt(self, stream: str | None) -> str | None:
        """Why a tachycardia that this lead alone shows is not believed; None: nothing speaks against it."""
        lead = self._leads.get(stream or "")
        run = _most_ventricular(lead, self._needed) if lead is not None else None
        if lead is None:
            return None
        lead.doubt = self._against(lead, run) if run is not None else lead.doubt  # behind a gap the last word holds
        return lead.doubt

    def _against(self, lead: _Lead, run: _Run) -> str | None:
        asked = [
            (other, seen)
            for other in self._others_of(lead)
            if len(seen := other.within(run.first_us, run.last_us)) >= DENYING_BEATS
            and other.readable(run.first_us, run.last_us)
        ]
        if asked:
            mean = sum(sum(seen) / len(seen) for _, seen in asked) / len(asked)
            limit = DENIES if lead.readable(run.first_us, run.last_us) else VENTRICULAR
            if mean >= limit:
                return None
            who = " and ".join(other.label for other, _ in asked)
            return (
                f"{who} does not show it: beats there are ventricular by {100 * mean:.0f} % (limit {100 * limit:.0f} %)"
            )
        disturbed = [other for other in self._others_of(lead) if other.disturbed(run.first_us, run.last_us)]
        if disturbed and not lead.readable(run.first_us, run.last_us):
            return f"no lead can be read there: {disturbed[0].label} and {lead.label} are disturbed"
        return None

    def answered(self, stream: str | None) -> bool:
        """Have the other leads been heard as far as this one's newest beat? (Those silent for long never will.)"""
        lead = self._leads.get(stream or "")
        if lead is None or not lead.beats:
            return True
        at_us = lead.beats[-1].at_us
        others = [
            other.beats[-1].at_us for other in self._others_of(lead) if other.beats and other.readable(at_us, at_us)
        ]
        return all(not at_us - RECENT_US < other_us < at_us - TOGETHER_US for other_us in others)

    def beating(self, stream: str | None, now_us: int) -> str | None:
        """Another readable lead on which the patient's own beats go on regularly, in words; None: there is none."""
        lead = self._leads.get(stream or "")
        for other in self._others_of(lead):
            recent = [one for one in other.beats if now_us - RECENT_US < one.at_us <= now_us]
            gaps_s = [one.rr_s for one in recent[1:] if one.rr_s is not None]
            if len(recent) < 5 or len(gaps_s) < len(recent) - 1 or not other.readable(recent[0].at_us, now_us):
                continue
            own = sum(one.ventricular for one in recent) / len(recent) < VENTRICULAR / 2
            if own and max(gaps_s) < 1.3 * min(gaps_s) and now_us - recent[-1].at_us < 2 * US_PER_S:
                return f"{other.label} shows regular beats at {60.0 * len(gaps_s) / sum(gaps_s):.0f}/min"
        return None

    def rates(self, stream: str | None, beats: int, now_us: int) -> dict[str, float]:
        """The rates of the other readable leads over their newest `beats` beats, by label."""
        found: dict[str, float] = {}
        for other in self._others_of(self._leads.get(stream or "")):
            newest = list(other.beats)[-beats:]
            gaps_s = [one.rr_s for one in newest[1:] if one.rr_s is not None]
            if len(newest) < beats or len(gaps_s) < beats - 1 or abs(now_us - newest[-1].at_us) > RECENT_US:
                continue
            if other.readable(newest[0].at_us, newest[-1].at_us):
                found[other.label] = 60.0 * len(gaps_s) / sum(gaps_s)
        return found

    # ------------------------------------------------------------------ parts

    def _lead(self, stream: str | None) -> _Lead | None:
        key = stream or ""
        if key not in self._leads:
            self.name(key, "another lead")
        return self._leads.get(key)

    def _others_of(self, lead: _Lead | None) -> list[_Lead]:
        return [one for one in self._leads.values() if one is not lead]

    def _newest_confirmed(self, now_us: int) -> _Run | None:
        """The newest run that ends within the last beats of a lead and is ventricular on all that can be read."""
        found: list[_Run] = []
        for lead in self._leads.values():
            for back in range(3):
                run = _run(lead, back, self._needed)
                if run is None or run.ventricular < LEADING or run.rate_bpm < self._rate_bpm - 1e-6:
                    continue
                if now_us - run.last_us < RECENT_US and self._agreed(lead, run):
                    found.append(run)
        return max(found, key=lambda one: one.last_us, default=None)

    def _agreed(self, lead: _Lead, run: _Run) -> bool:
        if not lead.readable(run.first_us, run.last_us):
            return False
        means = []
        for other in self._others_of(lead):
            seen = other.within(run.first_us, run.last_us)
            if len(seen) >= ENOUGH_BEATS and other.readable(run.first_us, run.last_us):
                means.append(sum(seen) / len(seen))
        return bool(means) and sum(means) / len(means) >= VENTRICULAR

    def _follow(self, beat: Beat, run: _Run | None) -> list[Sign]:
        before = self._confirmed
        if run is not None and (before is None or run.last_us > before.last_us):
            began_us = min(run.first_us, before.first_us) if before is not None else run.first_us
            self._beats = self._needed if before is None else self._beats + 1
            fastest_bpm = max(run.rate_bpm, before.rate_bpm if before is not None else 0.0)
            self._confirmed = _Run(began_us, run.last_us, fastest_bpm, run.ventricular)
            return [self._sign(beat, self._confirmed, on=True)]
        if before is not None and beat.start_us - before.last_us > 1.5 * US_PER_S:
            self._confirmed = None
            return [self._sign(beat, before, on=False)]
        return []

    def silent(self, now_us: int) -> list[Sign]:
        """Time passed: a confirmed run ends when no beat follows."""
        before = self._confirmed
        if before is None or now_us - before.last_us <= RECENT_US:
            return []
        self._confirmed = None
        return [Sign(kind="ventricular_tachycardia", on=False, witness="leads", end_us=before.last_us)]

    def _sign(self, beat: Beat, run: _Run, *, on: bool) -> Sign:
        return Sign(
            kind="ventricular_tachycardia", on=on, witness="leads", onset_us=run.first_us,
            end_us=None if on else run.last_us, stream=beat.stream, simulated=beat.simulated,
            fields={
                "beats": self._beats, "rate_bpm": run.rate_bpm, "limit_beats": self._needed,
                "limit_bpm": self._rate_bpm, "seen_on": "several leads",
                **({"model": beat.model} if beat.model is not None else {}),
            },
        )  # fmt: skip


def _ventricular(beat: Beat) -> float:
    """How ventricular a beat is: the class's probability where it is V, half where nobody can tell."""
    if not beat.judged or beat.beat_class in (BeatClass.Q, BeatClass.F):
        return 0.5
    probability = beat.probability if beat.probability is not None else 1.0
    return probability if beat.beat_class is BeatClass.V else 1.0 - probability


def _most_ventricular(lead: _Lead, needed: int) -> _Run | None:
    """Of the newest runs the most ventricular one."""
    runs = [run for back in range(NEWEST) if (run := _run(lead, back, needed)) is not None]
    return max(runs, key=lambda one: one.ventricular, default=None)


def _run(lead: _Lead, back: int, needed: int) -> _Run | None:
    """The lead's `needed` beats that end `back` before its newest; None where they do not follow each other."""
    end = len(lead.beats) - back
    if end < needed:
        return None
    beats = [lead.beats[k] for k in range(end - needed, end)]
    gaps_s = [one.rr_s for one in beats[1:] if one.rr_s is not None]
    if len(gaps_s) < needed - 1 or not sum(gaps_s) > 0:
        return None
    mean = sum(one.ventricular for one in beats) / needed
    return _Run(beats[0].at_us, beats[-1].at_us, 60.0 * (needed - 1) / sum(gaps_s), mean)
