"""Rhythm episodes of one lead: what the beats, the gaps between them and the clean lead say together.

Three groups of episodes run beside each other:

- dangerous: `ASYS` (no QRS for 4 s on a lead that can be believed), `VFL` (see `fibrillation.py`),
  `VT` (at 100/min or more: three or more beats that the classifier calls ventricular, or five or more whose QRS is
  unlike the patient's own, see `wide.py`; either witness suffices, the evidence names what each saw);
- base, always exactly one once there are beats: `AFIB` (see `irregularity.py`), `SVTA`, `B`, `T`, `N`;
  a model that looks at half minutes (P waves, atrial waves) may say "no fibrillation", and then `AFIB` is not
  said; it never makes one, and without it the intervals decide alone;
- `NOISE`: nothing can be said.

An episode is given when it is known, when its evidence grows, and when it has ended. Its onset lies in the past by
as much as it takes to know it. Everything is counted in samples of the clean lead (250 Hz since the stream began).
Fed by the lead analyser and the beat classifier; pure, causal.
"""

from __future__ import annotations

import copyreg
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from bedside.signal import fibrillation, hrv, irregularity, patterns, wide

Floats = npt.NDArray[np.float64]
Evidence = Mapping[str, float | int | str]

FS_HZ = 250
ASYSTOLE_S = 4.0  # PhysioNet Challenge 2015, table 1; also the default of bedside monitors
SUSPECT_S = 3.0  # more, while the lead looks like fibrillation
FIRST_BEAT_S = 8.0  # before the first beat ever the beat finder may still be learning
RUN_BEATS = 3
RUN_SUSTAINED_BEATS = 5
WIDE_BEATS = 5  # a form alone, without a class, must be sustained (PhysioNet Challenge 2015, table 1)
RUN_BPM = 100.0
RUN_RATE_BEATS = 5  # the run's rate is that of its last five beats
RUN_BREAK_S = 2.0
PAUSE_S = 2.0
NOISE_S = 3.0
RR_S = (0.2, 2.5)
PATTERN_KEPT = 9
WILD_MV = 1e9  # more is no lead
DENIED_BELOW, ALLOWED_FROM = 0.20, 0.35  # a model's probability of fibrillation; between them the last word stands
OPINION_S = 35.0  # an opinion older than this is none
OWN_WITNESS = "wide QRS against the patient's own"
ALONE_WITNESS = "wide QRS, the patient's own not known yet"


def _proxy(words: dict[str, float | int | str]) -> MappingProxyType[str, float | int | str]:
    return MappingProxyType(words)


copyreg.pickle(MappingProxyType, lambda proxy: (_proxy, (dict(proxy),)))  # a state can be saved and copied


@dataclass(frozen=True, slots=True)
class JudgedBeat:
    """A beat at clean index `at`, class N, S, V, F or Q; Q is also what no model could judge."""

    at: int
    symbol: str


@dataclass(frozen=True, slots=True)
class SeenSecond:
    """A second of the clean lead, `[first, first + n)`, and whether it can be believed."""

    first: int
    n: int
    usable: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a model says of the clean samples `[since, at)`: the probability of atrial fibrillation or flutter."""

    since: int
    at: int
    fibrillation: float


@dataclass(frozen=True, slots=True, eq=False)
class RhythmInput:
    """What is new. `settled`: no beat before it is still to come; `on_skin`: what the electrodes say, None: nothing.

    `opinions`: of a model that looks at whole windows, in order.
    """

    clean_mv: Floats
    clean_first: int
    peaks: tuple[int, ...]
    beats: tuple[JudgedBeat, ...]
    seconds: tuple[SeenSecond, ...]
    settled: int
    on_skin: bool | None = None
    retracted: tuple[int, ...] = ()  # clean indices of peaks, given before or now, that are none
    opinions: tuple[Opinion, ...] = ()


@dataclass(frozen=True, slots=True)
class Episode:
    """`[onset, end)` in clean samples; `end` None while it lasts. `label` as in WFDB's aux strings without bracket."""

    label: str
    onset: int
    end: int | None
    evidence: Evidence = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Pause:
    """An interval of `rr_s` between two beats, the second at clean index `at`, on a lead that can be believed."""

    at: int
    rr_s: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something counted or measured, known at clean index `at`: see `patterns.py` and `hrv.py`."""

    kind: str  # couplet, ventricular_run, heart_rate_variability
    at: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class _Vision:
    """What of the lead can be believed: since when without a break, until where judged, what was not."""

    since: int | None = None
    until: int = 0
    bad_since: int | None = None
    bad_reason: str | None = None
    holes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive beats of one class (V, S, or W: wide by form), and the run's episode when it is one."""

    at: tuple[int, ...] = ()  # the newest beats
    first: int = 0
    beats: int = 0
    others: int = 0  # beats of another class since the last of this
    fastest_bpm: float = 0.0
    on: bool = False


@dataclass(slots=True, eq=False)
class RhythmState:
    """Everything the analysis remembers; its size is constant. `step` changes a copy, never what it was given."""

    vision: _Vision
    last_peak: int | None
    vf: fibrillation.FibrillationState
    ventricular: _Run
    unlike: _Run
    supraventricular: _Run
    forms: wide.WideState
    form: Evidence  # what the wide run's beats looked like
    classified: tuple[int, int]  # since the open VT began: beats that the classifier gave, of them ventricular
    af: irregularity.IrregularityState
    opinion: Opinion | None  # the newest
    denied: int | None  # since when a model denies fibrillation
    allowed: int  # fibrillation cannot have begun before
    pattern: tuple[JudgedBeat, ...]
    group: patterns.Group | None
    variability: hrv.HrvState
    base: Episode | None
    open: Mapping[str, Episode]  # dangerous ones and NOISE, by label


_fields = attrgetter(*RhythmState.__slots__)


@dataclass(frozen=True, slots=True)
class RhythmOutput:
    """Episodes that began, grew or ended (in order of knowledge), pauses, and what was counted or measured."""

    episodes: tuple[Episode, ...]
    pauses: tuple[Pause, ...]
    notes: tuple[Note, ...] = ()


class RhythmAnalyser:
    """The design. Its numbers are the constants of this module and of its two neighbours."""

    def initial(self) -> RhythmState:
        """Before the first sample."""
        return RhythmState(
            vision=_Vision(),
            last_peak=None,
            vf=fibrillation.initial(),
            ventricular=_Run(),
            unlike=_Run(),
            supraventricular=_Run(),
            forms=wide.initial(),
            form=MappingProxyType({}),
            classified=(0, 0),
            af=irregularity.IrregularityState(),
            opinion=None,
            denied=None,
            allowed=0,
            pattern=(),
            group=None,
            variability=hrv.HrvState(),
            base=None,
            open=MappingProxyType({}),
        )

    def step(self, state: RhythmState, new: RhythmInput) -> tuple[RhythmState, RhythmOutput]:
        """Take what is new; give the next state and what it means.

        Infinite samples count as not seen. Raises `ValueError` naming `clean_mv` when it is not float64 (n,).
        """
        new = _checked(new)
        state = RhythmState(*_fields(state))
        out: list[Episode] = []
        pauses: list[Pause] = []
        _see(state, new, out)
        _fibrillation(state, new, out)
        for peak in new.peaks:
            _peak(state, peak, out)
        _asystole(state, new, out)
        notes: list[Note] = []
        for beat in new.beats:
            _note(state, beat, notes)
            _beat(state, beat, out, pauses)
        _forms(state, new, out)
        _silence(state, new.settled, out)
        state.af = irregularity.expire(state.af, new.settled, FS_HZ)
        for opinion in new.opinions:
            _hear(state, opinion)
        _base(state, new.settled, out)
        return state, RhythmOutput(tuple(out), tuple(pauses), tuple(notes))

    def close(self, state: RhythmState, at: int) -> tuple[Episode, ...]:
        """End whatever is open at clean index `at`, because the stream ends or begins anew."""
        still = [*state.open.values(), *([state.base] if state.base is not None else [])]
        return tuple(replace(one, end=max(at, one.onset)) for one in still)


def _checked(new: RhythmInput) -> RhythmInput:
    clean_mv = new.clean_mv
    if clean_mv.ndim != 1 or clean_mv.dtype != np.float64:
        raise ValueError(f"clean_mv: expected float64 (n,), got {clean_mv.dtype} {clean_mv.shape}")
    if clean_mv.size == 0 or np.maximum.reduce(np.abs(clean_mv)) < WILD_MV:  # NaN is not less
        return new
    return replace(new, clean_mv=np.where(np.abs(clean_mv) < WILD_MV, clean_mv, np.nan))


def _begin(state: RhythmState, episode: Episode, out: list[Episode]) -> None:
    out.append(episode)
    state.open = MappingProxyType({**state.open, episode.label: episode})


def _end(state: RhythmState, label: str, at: int, out: list[Episode], **more: float | int | str) -> None:
    episode = state.open[label]
    evidence = MappingProxyType({**episode.evidence, **more})
    out.append(replace(episode, end=max(at, episode.onset), evidence=evidence))
    state.open = MappingProxyType({key: one for key, one in state.open.items() if key != label})


# What can be seen


def _see(state: RhythmState, new: RhythmInput, out: list[Episode]) -> None:
    for second in new.seconds:
        end = second.first + second.n
        vision = state.vision
        # a flat line is a heart that does nothing, unless the electrodes say that they hang in the air
        if second.usable or (second.reason == "flat" and new.on_skin is not False):
            since = vision.since if vision.since is not None else second.first
            state.vision = _Vision(since, end, None, None, vision.holes)
            if "NOISE" in state.open:
                _end(state, "NOISE", second.first, out)
            continue
        bad_since = vision.bad_since if vision.bad_since is not None else second.first
        holes = (*vision.holes, (second.first, end))[-16:]
        state.vision = _Vision(None, end, bad_since, second.reason, holes)
        if end - bad_since >= NOISE_S * FS_HZ and "NOISE" not in state.open:
            evidence = MappingProxyType({"reason": second.reason or "unknown"})
            _begin(state, Episode("NOISE", bad_since, None, evidence), out)


def _unseen(vision: _Vision, start: int, end: int) -> bool:
    holes = vision.holes  # in order
    return bool(holes) and holes[-1][1] > start and any(first < end and last > start for first, last in holes)


# Dangerous rhythms


def _asystole(state: RhythmState, new: RhythmInput, out: list[Episode]) -> None:
    since = state.vision.since
    if "ASYS" in state.open:
        if since is None or new.on_skin is False:
            end = state.vision.bad_since if state.vision.bad_since is not None else new.settled
            _end(state, "ASYS", end, out, ended="signal lost")
        return
    if since is None or new.on_skin is False or "VFL" in state.open:
        return
    quiet_from = since if state.last_peak is None else max(since, state.last_peak)
    limit_s = FIRST_BEAT_S if state.last_peak is None else ASYSTOLE_S
    if fibrillation.suspected(state.vf):  # no QRS in fibrillation either: let its votes come in first
        limit_s += SUSPECT_S
    known_to = min(new.settled, state.vision.until)
    if known_to - quiet_from < limit_s * FS_HZ:
        return
    evidence = MappingProxyType({"no_qrs_s": (known_to - quiet_from) / FS_HZ})
    _begin(state, Episode("ASYS", quiet_from, None, evidence), out)


def _peak(state: RhythmState, peak: int, out: list[Episode]) -> None:
    if "ASYS" in state.open:
        _end(state, "ASYS", peak, out)
    state.last_peak = peak if state.last_peak is None else max(peak, state.last_peak)


def _fibrillation(state: RhythmState, new: RhythmInput, out: list[Episode]) -> None:
    state.vf = fibrillation.step(state.vf, new.clean_mv, new.clean_first)
    seen = state.vf.evidence
    if state.vf.onset is not None and "VFL" not in state.open and seen is not None and new.on_skin is not False:
        evidence = MappingProxyType(
            {
                "frequency_hz": seen.frequency_hz,
                "size_mv": seen.size_mv,
                "quiet_share": seen.quiet,
                "phase_space_filled": seen.filled,
            }
        )
        _begin(state, Episode("VFL", state.vf.onset, None, evidence), out)
        if "ASYS" in state.open:
            _end(state, "ASYS", new.settled, out, ended="ventricular fibrillation")
    elif state.vf.onset is None and "VFL" in state.open:
        _end(state, "VFL", state.vf.last_seen - FS_HZ // 2, out)


# Runs


def _run_bpm(run: _Run) -> float:
    return 60.0 * FS_HZ * (len(run.at) - 1) / (run.at[-1] - run.at[0]) if len(run.at) > 1 else 0.0


def _grow(run: _Run, beat: JudgedBeat, unseen: bool) -> _Run:
    near = run.at and beat.at - run.at[-1] <= RUN_BREAK_S * FS_HZ and not unseen
    if not near or (run.others and not run.on):
        return _Run((beat.at,), beat.at, 1)
    grown = replace(run, at=(*run.at, beat.at)[-RUN_RATE_BEATS:], beats=run.beats + 1, others=0)
    return replace(grown, fastest_bpm=max(grown.fastest_bpm, _run_bpm(grown)))


def _run(
    state: RhythmState, run: _Run, symbol: str, beat: JudgedBeat, out: list[Episode], needed: int = RUN_BEATS
) -> _Run:
    """The run of class `symbol` after one more beat; `needed` beats make it one."""
    if beat.symbol != symbol:
        if not run.at or beat.symbol in "FQ":  # a fusion or an unjudged beat neither breaks nor makes a run
            return run
        run = replace(run, others=run.others + 1)
        # once sustained, a single beat of another class is more often a wrong class than an end
        patience = 2 if run.beats >= RUN_SUSTAINED_BEATS else 1
        if run.others < patience:
            return run
        _run_ends(state, run, symbol, out)
        return _Run()
    before, run = run, _grow(run, beat, bool(run.at) and _unseen(state.vision, run.at[-1], beat.at))
    if before.on and not run.on:
        _run_ends(state, before, symbol, out)
    fast = _run_bpm(run) >= RUN_BPM - 0.25  # half a sample of jitter at the boundary of 100
    if not run.on and run.beats >= needed and fast:
        run = replace(run, on=True)
        _run_grows(state, run, symbol, out)
    elif run.on and run.beats == RUN_SUSTAINED_BEATS:
        _run_grows(state, run, symbol, out)
    elif run.on and _run_bpm(run) < 0.9 * RUN_BPM:
        _run_ends(state, run, symbol, out)
        run = replace(run, on=False)
    return run


def _run_grows(state: RhythmState, run: _Run, symbol: str, out: list[Episode]) -> None:
    if symbol == "S":  # a base rhythm: see `_base`
        return
    before = state.open.get("VT")
    if before is None:
        since = [one for one in state.pattern if one.at >= run.first]
        state.classified = (len(since), sum(one.symbol == "V" for one in since))
    onset = before.onset if before is not None else run.first
    known = before.evidence if before is not None else MappingProxyType({})
    _begin(state, Episode("VT", onset, None, _vt_evidence(state, run, symbol, known)), out)


def _run_evidence(run: _Run) -> Evidence:
    return MappingProxyType(
        {"beats": run.beats, "rate_bpm": _run_bpm(run), "fastest_bpm": max(run.fastest_bpm, _run_bpm(run))}
    )


def _vt_evidence(state: RhythmState, run: _Run, symbol: str, known: Evidence) -> Evidence:
    """What `run` shows, beside what is known: the longer run gives the numbers, every witness its own words."""
    before = known.get("beats", 0)
    longer = not isinstance(before, int) or run.beats >= before
    numbers = _run_evidence(run) if longer else MappingProxyType({})
    beats, ventricular = state.classified
    words = {"classified_beats": beats, "classified_ventricular": ventricular}
    form = {**state.form, "wide_beats": run.beats} if symbol == "W" else {}
    return MappingProxyType({**known, **numbers, **words, **form})


def _run_ends(state: RhythmState, run: _Run, symbol: str, out: list[Episode]) -> None:
    """The witness of `symbol` has seen the end; the episode lasts while the other one still sees it."""
    other = state.unlike if symbol == "V" else state.ventricular
    if run.on and symbol != "S" and "VT" in state.open and not other.on:
        end = max(run.at[-1], other.at[-1] if other.at else 0) + FS_HZ // 4
        _end(state, "VT", end, out, **_vt_evidence(state, run, symbol, state.open["VT"].evidence))


def _forms(state: RhythmState, new: RhythmInput, out: list[Episode]) -> None:
    """The witness that knows no classes: beats unlike the patient's own."""
    vision = state.vision
    state.forms, found = wide.step(
        state.forms,
        new.clean_mv,
        new.clean_first,
        new.peaks,
        new.retracted,
        min(vision.until, new.settled),
        vision.holes,
    )
    for one in found:
        if one.wide:
            state.form = _form(one)
        symbol = "Q" if one.wide is None else "W" if one.wide else "N"
        state.unlike = _run(state, state.unlike, "W", JudgedBeat(one.at, symbol), out, WIDE_BEATS)


def _form(beat: wide.WideBeat) -> Evidence:
    if beat.correlation is None or beat.width_ratio is None:
        return MappingProxyType({"witness": ALONE_WITNESS, "width_s": beat.width_s})
    return MappingProxyType({"witness": OWN_WITNESS, "correlation": beat.correlation, "width_ratio": beat.width_ratio})


def _silence(state: RhythmState, settled: int, out: list[Episode]) -> None:
    """Runs end when no beat comes any more."""
    limit = settled - round((RUN_BREAK_S + 1.5) * FS_HZ)  # a class may take 1.2 s more than its beat
    for symbol, run in (("V", state.ventricular), ("W", state.unlike)):
        if run.at and run.at[-1] < limit:
            if symbol == "V":
                state.ventricular = _Run()
            else:
                state.unlike = _Run()
            _run_ends(state, run, symbol, out)
    if state.supraventricular.at and state.supraventricular.at[-1] < limit:
        state.supraventricular = _Run()


# Beats


def _note(state: RhythmState, beat: JudgedBeat, notes: list[Note]) -> None:
    """What is counted and measured, whatever the rhythm; before the beat joins the pattern."""
    before = state.pattern[-1] if state.pattern else None
    near = before is not None and not _unseen(state.vision, before.at, beat.at)
    state.group, group = patterns.step(state.group, beat.at, beat.symbol, near)
    if group is not None:
        notes.append(Note(group.kind, group.first, MappingProxyType(group.evidence())))
    rr_s = (beat.at - before.at) / FS_HZ if before is not None and near else None
    normal = before is not None and before.symbol == beat.symbol == "N"
    state.variability, measured = hrv.step(state.variability, beat.at, rr_s, normal)
    if measured is not None:
        notes.append(Note("heart_rate_variability", measured.end, MappingProxyType(measured.evidence())))


def _beat(state: RhythmState, beat: JudgedBeat, out: list[Episode], pauses: list[Pause]) -> None:
    before = state.pattern[-1] if state.pattern else None
    if before is not None and not _unseen(state.vision, before.at, beat.at):
        rr_s = (beat.at - before.at) / FS_HZ
        if rr_s >= PAUSE_S:
            pauses.append(Pause(beat.at, rr_s))
        if "V" not in (pair := before.symbol + beat.symbol) and "F" not in pair and RR_S[0] < rr_s < RR_S[1]:
            state.af = irregularity.step(state.af, rr_s, beat.at, FS_HZ)
    state.pattern = (*state.pattern, beat)[-PATTERN_KEPT:]
    state.classified = (state.classified[0] + 1, state.classified[1] + (beat.symbol == "V"))
    state.ventricular = _run(state, state.ventricular, "V", beat, out)
    state.supraventricular = _run(state, state.supraventricular, "S", beat, out)


def _repeats(pattern: tuple[JudgedBeat, ...], every: int) -> bool:
    """Do the last three groups of `every` beats each hold one V, at the same place?"""
    symbols = "".join("V" if one.symbol == "V" else "n" for one in pattern[-3 * every :])
    group = symbols[:every]
    return len(symbols) == 3 * every and symbols == 3 * group and group.count("V") == 1


def _hear(state: RhythmState, opinion: Opinion) -> None:
    """A window with fibrillation in more than about a third of it is not denied."""
    third = (opinion.at - opinion.since) // 3
    state.opinion = opinion
    if opinion.fibrillation < DENIED_BELOW:
        state.denied = state.denied if state.denied is not None else opinion.since + third
        state.allowed = opinion.at - third
    elif opinion.fibrillation >= ALLOWED_FROM:
        state.denied = None


def fresh_opinion(state: RhythmState, now: int) -> Opinion | None:
    """The newest opinion, unless it is of another time."""
    opinion = state.opinion
    return opinion if opinion is not None and now - opinion.at <= OPINION_S * FS_HZ else None


def base_rhythm(state: RhythmState) -> str:
    """The label that the rules hold for the present, whatever a model denies; empty before the first beat."""
    if state.af.onset is not None:
        return "AFIB"
    return "" if state.base is None else state.base.label


def _base(state: RhythmState, now: int, out: list[Episode]) -> None:
    if not state.pattern:
        return
    label, onset, evidence = _base_label(state, fresh_opinion(state, now))
    current = state.base
    if current is not None and current.label == label:
        return
    if current is not None:
        onset = max(onset, current.onset)
        out.append(replace(current, end=onset))
    state.base = Episode(label, onset, None, evidence)
    out.append(state.base)


def _base_label(state: RhythmState, opinion: Opinion | None) -> tuple[str, int, Evidence]:
    """The base rhythm now, where it may have begun, and why."""
    newest = state.pattern[-1].at
    denied = state.denied if opinion is not None else None
    if state.af.onset is not None and denied is None and (seen := state.af.evidence) is not None:
        evidence = {"rr_entropy": seen.entropy, "rr_jumps_share": seen.jumps, "rate_bpm": seen.rate_bpm}
        if opinion is not None:
            evidence["model_probability"] = opinion.fibrillation
        return "AFIB", max(state.af.onset, state.allowed), MappingProxyType(evidence)
    if state.supraventricular.on:
        return "SVTA", state.supraventricular.first, _run_evidence(state.supraventricular)
    for label, every in (("B", 2), ("T", 3)):
        if _repeats(state.pattern, every):
            return label, state.pattern[-3 * every].at, MappingProxyType({})
    if state.base is None:
        return "N", state.pattern[0].at, MappingProxyType({})
    if state.base.label == "AFIB":
        ends = [one for one in (state.af.ended if state.af.onset is None else None, denied) if one is not None]
        return "N", min(ends, default=newest), MappingProxyType({})
    return "N", newest, MappingProxyType({})
