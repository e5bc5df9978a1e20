"""Is this how this patient was? One quantity a minute against the patient's own past, by robust statistics.

Fed with a minute's median of a vital sign or of the average beat's shape; pure. The usual is the median of five-minute
medians of up to four days, or of the same time of day (within two hours) once an hour of it from another day is known,
whichever is nearer. What differs by at least `least` and by `SPREADS` robust spreads (1.4826 times the median absolute
deviation, not under `floor`) for five minutes is a change; it ends when it was back within seven tenths of that for
five minutes. Learning is slow: nothing is judged before two hours are known, nothing is learned while `learn` is False
(alarms, poor signal) or while a change lasts, until it has lasted six hours: then the new state is slowly taken in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from types import MappingProxyType
from typing import Final

MINUTES_A_DAY: Final = 1440
RECENT: Final = 5  # minutes
RECENT_SPAN: Final = 8  # a gap longer than 3 minutes starts them anew
KEPT: Final = 4 * MINUTES_A_DAY // RECENT
KNOWN_MIN: Final = 24  # five-minute medians: two hours
SAME_TIME: Final = 120  # minutes
SAME_TIME_MIN: Final = 12
SPREADS: Final = 4.0
BACK: Final = 0.7
TAKEN_IN_AFTER: Final = 360  # minutes


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is followed. `floor`: spread that is always allowed; `least`: a smaller change is of no interest."""

    name: str
    label: str
    unit: str
    floor: float
    least: float
    decimals: int = 0


QUANTITIES: Final[Mapping[str, Quantity]] = MappingProxyType(
    {
        one.name: one
        for one in (
            Quantity("heart_rate", "rate", "/min", 3.0, 20.0),
            Quantity("pulse_rate", "pulse", "/min", 3.0, 20.0),
            Quantity("respiration_rate", "breathing", "/min", 1.0, 6.0),
            Quantity("spo2", "SpO₂", "%", 0.7, 4.0),
            Quantity("temperature", "temperature", "°C", 0.15, 1.0, 1),
            Quantity("ventricular_rate", "ventricular beats", "/min", 1.0, 6.0),
            Quantity("qrs_width", "QRS width", "ms", 5.0, 24.0),
            Quantity("qrs_size", "QRS size", "mV", 0.06, 0.5, 2),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Change:
    """A change that began (`on`) or is over. `by` = `now` - `usual`, in the quantity's unit; `since`: minute."""

    quantity: str
    on: bool
    since: int
    now: float
    usual: float
    spread: float

    @property
    def by(self) -> float:
        return self.now - self.usual

    def words(self) -> str:
        """As a person says it: `rate up 22/min (usual 70)`."""
        what = QUANTITIES[self.quantity]
        way = "up" if self.by >= 0 else "down"
        gap = "" if what.unit.startswith("/") else " "
        return (
            f"{what.label} {way} {abs(self.by):.{what.decimals}f}{gap}{what.unit} "
            f"(usual {self.usual:.{what.decimals}f})"
        )


@dataclass(frozen=True, slots=True)
class Track:
    """One quantity's memory: bounded, never changed in place. Minutes count since 1970 UTC."""

    recent: tuple[tuple[int, float], ...] = ()
    known: tuple[tuple[int, float], ...] = ()  # five-minute medians that were learned
    pending: int = 0  # minutes since the last of them
    strange: int = 0  # minutes in a row that speak against the present state
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Usual:
    """What is held usual of one patient."""

    tracks: Mapping[str, Track] = field(default_factory=lambda: MappingProxyType({}))


def step(usual: Usual, quantity: str, minute: int, value: float, learn: bool) -> tuple[Usual, Change | None]:
    """Take one minute's median of `quantity`; give what began or ended. Raises `KeyError` for an unknown quantity.

    Minutes come in order; one that does not (a clock that was set back) begins the recent ones anew.
    """
    what = QUANTITIES[quantity]
    track = usual.tracks.get(quantity, Track())
    recent = tuple(one for one in track.recent if minute - RECENT_SPAN < one[0] < minute)
    track = replace(track, recent=(*recent, (minute, value))[-RECENT:], pending=track.pending + 1)
    change: Change | None = None
    compared = _compared(track, what, minute)
    if compared is not None:
        track, change = _judged(track, what, minute, compared)
    if learn and track.pending >= RECENT and len(track.recent) == RECENT:
        lasting = track.since is not None and minute - track.since < TAKEN_IN_AFTER
        if not lasting and (track.strange == 0 or track.since is not None):
            now = median(one for _, one in track.recent)
            track = replace(track, known=(*track.known, (minute, now))[-KEPT:], pending=0)
    return Usual(MappingProxyType({**usual.tracks, quantity: track})), change


def _compared(track: Track, what: Quantity, minute: int) -> tuple[float, float, float] | None:
    """The present, the usual and its spread; None before enough is known.

    Of all that is known and of the same time on other days, whichever the present is nearer to.
    """
    if len(track.recent) < RECENT or len(track.known) < KNOWN_MIN:
        return None
    now = median(value for _, value in track.recent)
    same = [value for at, value in track.known if _near(at, minute) and minute - at > MINUTES_A_DAY // 2]
    held = [[value for _, value in track.known], *([same] if len(same) >= SAME_TIME_MIN else [])]
    levels = [(level, _spread(values, level, what)) for values in held for level in (median(values),)]
    level, spread = min(levels, key=lambda one: abs(now - one[0]) / max(SPREADS * one[1], what.least))
    return now, level, spread


def _spread(values: list[float], level: float, what: Quantity) -> float:
    return max(1.4826 * median(abs(value - level) for value in values), what.floor)


def _near(at: int, minute: int) -> bool:
    apart = (at - minute) % MINUTES_A_DAY
    return min(apart, MINUTES_A_DAY - apart) <= SAME_TIME


def _judged(
    track: Track, what: Quantity, minute: int, compared: tuple[float, float, float]
) -> tuple[Track, Change | None]:
    now, level, spread = compared
    limit = max(SPREADS * spread, what.least)
    off = abs(now - level)
    speaks_against = off >= limit if track.since is None else off < BACK * limit
    strange = track.strange + 1 if speaks_against else 0
    if strange < RECENT:
        return replace(track, strange=strange), None
    if track.since is None:
        since = minute - RECENT - RECENT // 2
        return replace(track, strange=0, since=since), Change(what.name, True, since, now, level, spread)
    ended = Change(what.name, False, track.since, now, level, spread)
    return replace(track, strange=0, since=None), ended


def reset(usual: Usual, quantity: str | None = None) -> Usual:
    """Forget one quantity, or all: after an operation, a new drug, another patient in the bed."""
    kept = {name: track for name, track in usual.tracks.items() if quantity is not None and name != quantity}
    return Usual(MappingProxyType(kept))


def inspection(usual: Usual, minute: int) -> dict[str, dict[str, float | int | str | bool | None]]:
    """What is held usual at `minute`, for people: plain values, ready for JSON."""
    view: dict[str, dict[str, float | int | str | bool | None]] = {}
    for name, track in usual.tracks.items():
        what = QUANTITIES[name]
        compared = _compared(track, what, minute)
        view[name] = {
            "label": what.label,
            "unit": what.unit,
            "now": round(compared[0], 3) if compared else None,
            "usual": round(compared[1], 3) if compared else None,
            "spread": round(compared[2], 3) if compared else None,
            "limit": round(max(SPREADS * compared[2], what.least), 3) if compared else None,
            "hours_known": round(len(track.known) * RECENT / 60.0, 1),
            "hours_wanted": KNOWN_MIN * RECENT / 60.0,
            "changed": track.since is not None,
            "since_minute": track.since,
        }
    return view
