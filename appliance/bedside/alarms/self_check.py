"""The alarm system tests itself: a made-up patient's crisis goes through the code that watches the real ones.

An engine of its own, of the same table and the same code, is told of an asystole, a fibrillation and a desaturation;
each must be raised as high, ask for the high burst, outlast its end, and go by a named acknowledgement alone. What
fails is the condition `alarm_system_failed`. A few milliseconds; pure.
"""

from __future__ import annotations

import random

from bedside.alarms.audio import signalling
from bedside.alarms.engine import AlarmEngine
from bedside.alarms.table import ConditionTable
from bedside.alarms.tones import bursts
from bedside.core.codes import FACTS, Code
from bedside.core.events import AlarmState, Event, Numeric, Priority, Quality, Rhythm, RhythmLabel
from bedside.core.ids import IdSource
from bedside.core.samples import Validity
from bedside.core.time import US_PER_S

EVERY_S = 60.0
NOBODY = "0" * 32
RHYTHMS = {"asystole": RhythmLabel.ASYSTOLE, "ventricular_fibrillation": RhythmLabel.VF}


class _Trial:
    """A made-up patient on an engine; time goes by seconds."""

    def __init__(self, table: ConditionTable) -> None:
        self.now_us = 1_700_000_000 * US_PER_S
        self.engine = AlarmEngine(NOBODY, IdSource(lambda: self.now_us, random.Random(1)), simulated=True, table=table)  # noqa: S311
        self.wait(1)
        self.say(Quality(**self.base(), stream="t", index=0, usable=True, score=1.0, reason=None))  # type: ignore[arg-type]

    def base(self) -> dict[str, object]:
        return {"id": "trial", "patient": NOBODY, "start_us": self.now_us}

    def say(self, event: Event) -> None:
        self.engine.feed(event, self.now_us)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_us += US_PER_S
            self.engine.advance(self.now_us)

    def rhythm(self, label: RhythmLabel, since_us: int, end_us: int | None) -> None:
        base = self.base() | {"start_us": since_us}
        self.say(Rhythm(**base, stream="t", label=label, index=0, end_us=end_us))  # type: ignore[arg-type]

    def saturation(self, value: float) -> None:
        self.say(
            Numeric(**self.base(), code=Code.SPO2, value=value, unit=FACTS[Code.SPO2].unit, source="trial",  # type: ignore[arg-type]
                    validity=Validity.GOOD, reason=None)
        )  # fmt: skip


def self_check(table: ConditionTable) -> str | None:
    """None when all goes as it must; else what does not, in words. Never raises."""
    try:
        return _signals() or next(
            (found for kind in (*RHYTHMS, "desaturation") if (found := _crisis(table, kind))), None
        )
    except Exception as error:  # noqa: BLE001  whatever breaks it is what it is there to tell
        return f"the self-check itself failed ({type(error).__name__})"


def _signals() -> str | None:
    missing = [str(one) for one in Priority if one not in bursts() or bursts()[one].wav() == b""]
    return f"no tone for {', '.join(missing)} priority" if missing else None


def _crisis(table: ConditionTable, kind: str) -> str | None:
    """Begin it, look, end it, look, acknowledge it, look."""
    trial, name = _Trial(table), kind.replace("_", " ")
    began_us = trial.now_us
    trial.wait(4)
    _say(trial, kind, began_us, over=False)
    trial.wait(5)
    alarms = [one for one in trial.engine.open() if one.kind == kind]
    if not alarms or alarms[0].priority is not Priority.HIGH or signalling(alarms) is not Priority.HIGH:
        return f"{name} was not signalled"
    _say(trial, kind, began_us, over=True)
    trial.wait(15)
    alarms = [one for one in trial.engine.open() if one.kind == kind]
    if not alarms or alarms[0].state is not AlarmState.LATCHED:
        return f"{name} did not outlast its end"
    trial.engine.acknowledge(alarms[0].alarm, "self-check", trial.now_us)
    if any(one.kind == kind for one in trial.engine.open()):
        return f"{name} could not be acknowledged"
    return None


def _say(trial: _Trial, kind: str, began_us: int, *, over: bool) -> None:
    if kind == "desaturation":
        trial.saturation(95.0 if over else 70.0)
    else:
        trial.rhythm(RHYTHMS[kind], began_us, trial.now_us if over else None)
