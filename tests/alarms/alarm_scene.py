"""A patient for alarm tests: says events to an engine second by second and keeps what comes out."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

from bedside.alarms.engine import AlarmEngine
from bedside.core.codes import FACTS, Code, StreamKind
from bedside.core.events import (
    Alarm,
    AlarmState,
    Beat,
    BeatClass,
    Event,
    Finding,
    Link,
    Numeric,
    PulseSecond,
    Quality,
    Rhythm,
    RhythmLabel,
    Suppression,
)
from bedside.core.ids import IdSource
from bedside.core.samples import LinkState, StreamInfo, Validity

START_US = 1_700_000_000_000_000
S = 1_000_000
PATIENT, STREAM, STRAP, OXIMETER = "p" * 32, "e" * 32, "a" * 32, "b" * 32
ECG = StreamInfo(
    id=STREAM, patient=PATIENT, wearable=STRAP, kind=StreamKind.ECG, label="I", rate_hz=130.0, unit="mV",
    unit_per_count=0.001, simulated=True,
)  # fmt: skip

SECOND_LEAD = "f" * 32
ECG_TWO = replace(ECG, id=SECOND_LEAD, label="V")


class Scene:
    """Time `t` in seconds since the start; wall clock may be shifted by `jump`."""

    def __init__(self, engine: AlarmEngine | None = None, *, signal: bool = True, seed: int = 1) -> None:
        self.t = 0.0
        self.shift_us = 0
        self.ids = IdSource(self.now_us, random.Random(seed))
        self.engine = engine if engine is not None else AlarmEngine(PATIENT, self.ids)
        self.out: list[Event] = []
        self._counter = itertools.count()
        self.engine.stream(ECG)
        self.tell(self.engine.advance(self.now_us()))
        if signal:
            self.quality(True)
            self.beats(BeatClass.N, 5, 0.8)

    def now_us(self) -> int:
        return START_US + self.shift_us + round(self.t * S)

    def tell(self, events: Sequence[Event]) -> list[Event]:
        self.out += events
        return list(events)

    def feed(self, event: Event) -> list[Event]:
        return self.tell(self.engine.feed(event, self.now_us()))

    def wait(self, seconds: float, step_s: float = 0.5) -> list[Event]:
        """Time passes and nothing is heard."""
        said: list[Event] = []
        end = self.t + seconds
        while self.t < end - 1e-9:
            self.t = min(self.t + step_s, end)
            said += self.tell(self.engine.advance(self.now_us()))
        return said

    # ------------------------------------------------------------------ events

    def _base(self, at_us: int | None = None) -> dict[str, object]:
        return {"id": f"event-{next(self._counter)}", "patient": PATIENT, "start_us": at_us or self.now_us()}

    def beat(self, beat_class: BeatClass, rr_s: float | None, *, judged: bool = True) -> list[Event]:
        """One beat, `rr_s` after the last; heard as it happens."""
        said = self.wait(rr_s or 0.0)
        return said + self.feed(
            Beat(
                **self._base(), stream=STREAM, index=0, beat_class=beat_class, judged=judged,  # type: ignore[arg-type]
                probability=0.9 if judged else None, rr_s=rr_s, amplitude_mv=1.0, model="0" * 64 if judged else None,
            )
        )  # fmt: skip

    def both(self, first: tuple[BeatClass, float], second: tuple[BeatClass, float], rr_s: float) -> list[Event]:
        """One beat on each of two leads, with the probabilities of their classes."""
        said = self.wait(rr_s)
        return said + self._judged(STREAM, first, rr_s) + self.lead_two(second, rr_s)

    def lead_two(self, judged: tuple[BeatClass, float], rr_s: float) -> list[Event]:
        """A beat on the second lead now."""
        return self._judged(SECOND_LEAD, judged, rr_s)

    def _judged(self, stream: str, judged: tuple[BeatClass, float], rr_s: float) -> list[Event]:
        return self.feed(
            Beat(
                **self._base(), stream=stream, index=0, beat_class=judged[0], judged=True,  # type: ignore[arg-type]
                probability=judged[1], rr_s=rr_s, amplitude_mv=1.0, model="0" * 64,
            )
        )  # fmt: skip

    def second_lead(self) -> None:
        """A second lead that can be read."""
        self.engine.stream(ECG_TWO)
        self.quality(True, stream=SECOND_LEAD)

    def pulse(self, n: int, rate_bpm: float | None = 75.0, *, usable: bool = True) -> list[Event]:
        """`n` seconds of a pulse wave, each told as it ends."""
        said: list[Event] = []
        for _ in range(n):
            said += self.wait(1.0)
            count = round((rate_bpm or 0.0) / 60.0) if usable else 0
            said += self.feed(
                PulseSecond(
                    **self._base(self.now_us() - S), stream=OXIMETER, end_us=self.now_us(), index=0,  # type: ignore[arg-type]
                    n_samples=100, usable=usable, reason=None if usable else "motion", pulses=count,
                    newest_pulse_us=self.now_us() if count else None, rate_bpm=rate_bpm if usable else None,
                )
            )  # fmt: skip
        return said

    def breath(self) -> list[Event]:
        return self.feed(Finding(**self._base(), kind="breath"))  # type: ignore[arg-type]

    def beats(self, beat_class: BeatClass, n: int, rr_s: float) -> list[Event]:
        return [event for _ in range(n) for event in self.beat(beat_class, rr_s)]

    def numeric(self, code: Code, value: float | None, source: str = OXIMETER) -> list[Event]:
        return self.feed(
            Numeric(
                **self._base(), code=code, value=value, unit=FACTS[code].unit, source=source,  # type: ignore[arg-type]
                validity=Validity.GOOD if value is not None else Validity.REJECTED,
                reason=None if value is not None else "no_pulse",
            )
        )  # fmt: skip

    def seconds(self, code: Code, value: float | None, n: int) -> list[Event]:
        """`n` seconds of one number a second, the first now."""
        said: list[Event] = []
        for _ in range(n):
            said += self.numeric(code, value)
            said += self.wait(1.0)
        return said

    def rhythm(self, label: RhythmLabel, onset_t: float, end_t: float | None = None) -> list[Event]:
        start_us = START_US + self.shift_us + round(onset_t * S)
        end_us = None if end_t is None else START_US + self.shift_us + round(end_t * S)
        return self.feed(
            Rhythm(**self._base(start_us), stream=STREAM, label=label, index=0, end_us=end_us)  # type: ignore[arg-type]
        )

    def pause(self, rr_s: float) -> list[Event]:
        """A beat after a long interval, as the monitor tells of it."""
        said = self.beat(BeatClass.N, rr_s)
        finding = Finding(**self._base(), stream=STREAM, kind="pause", evidence={"rr_s": rr_s})  # type: ignore[arg-type]
        return said + self.feed(finding)

    def quality(self, usable: bool, reason: str | None = None, stream: str = STREAM) -> list[Event]:
        return self.feed(
            Quality(
                **self._base(), stream=stream, index=0, usable=usable, score=float(usable),  # type: ignore[arg-type]
                reason=None if usable else (reason or "motion"),
            )
        )  # fmt: skip

    def link(self, state: LinkState, wearable: str = STRAP) -> list[Event]:
        return self.feed(Link(**self._base(), wearable=wearable, state=state, reason="out of range"))  # type: ignore[arg-type]

    # ------------------------------------------------------------------ what is there

    def alarms(self, kind: str | None = None) -> list[Alarm]:
        return [one for one in self.out if isinstance(one, Alarm) and (kind is None or one.kind == kind)]

    def states(self, kind: str) -> list[AlarmState]:
        return [one.state for one in self.alarms(kind)]

    def suppressed(self, kind: str) -> list[Suppression]:
        return [one for one in self.out if isinstance(one, Suppression) and one.kind == kind]

    def open(self) -> list[str]:
        return [one.kind for one in self.engine.open()]

    def one(self, kind: str) -> Alarm:
        (alarm,) = [one for one in self.engine.open() if one.kind == kind]
        return alarm
