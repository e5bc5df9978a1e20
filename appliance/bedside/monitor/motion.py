"""One wearable's three axes of acceleration as posture, activity, steps and evidence of a fall.

The axes come as three streams of one wearable whose labels end in X, Y and Z; they are joined by their sample index.
Pure; fed by `patient.py`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from bedside.core.codes import FACTS, Code
from bedside.core.events import Evidence, Finding, Numeric
from bedside.core.ids import IdSource
from bedside.core.samples import Block, Floats, StreamInfo, Validity
from bedside.core.time import US_PER_S
from bedside.monitor.output import Outbox
from bedside.monitor.timeline import Timeline
from bedside.signal.motion import MotionAnalyser, MotionSecond, Mounting, Posture

AXES = ("X", "Y", "Z")
EVERY_S = 10
HOLE_S_MAX = 10.0
APART_S_MAX = 10.0
"""An axis that lags so far behind the others has lost its samples."""
MINUTE = 60
MG_PER_UNIT = {"m[g]": 1.0, "mg": 1.0, "[g]": 1000.0, "m/s2": 1000.0 / 9.80665}


@dataclass(slots=True)
class _Axis:
    expected: int | None = None
    pending: Floats = field(default_factory=lambda: np.zeros(0))


class MotionMonitor:
    """Raises `ValueError` when the rate (25 to 200 Hz) or the unit cannot be analysed."""

    def __init__(
        self, info: StreamInfo, patient: str, ids: IdSource, simulated: bool, mounting: Mounting | None = None
    ) -> None:
        if info.unit not in MG_PER_UNIT:
            raise ValueError(f"stream unit {info.unit!r}: expected acceleration in one of {', '.join(MG_PER_UNIT)}")
        self.wearable = info.wearable
        self._info, self._patient, self._ids = info, patient, ids
        self._simulated = simulated or info.simulated
        self._scale = MG_PER_UNIT[info.unit]
        self._analyser = MotionAnalyser.design(info.rate_hz, mounting)
        self._state = self._analyser.initial()
        self._axes = {name: _Axis() for name in AXES}
        self._timeline = Timeline()
        self._base = 0  # the streams' index of the analysis' first sample
        self._posture: str | None = None
        self._activity: deque[float | None] = deque(maxlen=EVERY_S)
        self._steps: deque[int] = deque(maxlen=MINUTE)
        self._seconds = 0
        self.moving: bool | None = None  # in the newest second; None: cannot tell

    def block(self, block: Block, out: Outbox) -> None:
        """The next samples of one axis; those seen before are dropped, holes are missing samples."""
        name = block.stream.label.strip().upper()[-1:]
        if name not in self._axes or block.counts.size == 0 or block.stream.rate_hz != self._info.rate_hz:
            return
        axis, values, first = self._axes[name], block.values() * self._scale, block.first_index
        hole = first - axis.expected if axis.expected is not None else 0
        most = HOLE_S_MAX * self._info.rate_hz
        if -most <= hole < 0:
            values, first, hole = values[-hole:], first - hole, 0
        elif axis.expected is None or abs(hole) > most:
            if axis.expected is not None:
                self._anew()
                axis = self._axes[name]
            hole = 0
        if values.size == 0:
            return
        self._timeline.note(block.first_index, block.start_us, block.rate_hz)
        axis.pending = np.concatenate((axis.pending, np.full(hole, np.nan), values))
        axis.expected = first + values.size
        self._join(out)

    def _anew(self) -> None:
        """Another count, or a long hole: what was learnt of the mounting stays, all else is of another time."""
        mounting = self._state.mounting
        self._state = self._analyser.initial()
        self._state.mounting = mounting
        self._axes = {name: _Axis() for name in AXES}
        self._timeline = Timeline()

    def _join(self, out: Outbox) -> None:
        """Samples that all three axes have."""
        begins = [one.expected - one.pending.size for one in self._axes.values() if one.expected is not None]
        if len(begins) < len(AXES):
            return
        ends = [one.expected for one in self._axes.values() if one.expected is not None]
        if max(ends) - min(ends) > APART_S_MAX * self._info.rate_hz:
            self._anew()
            return
        first, end = max(begins), min(ends)
        if end <= first:
            return
        columns = []
        for axis in self._axes.values():
            begin = (axis.expected or 0) - axis.pending.size
            columns.append(axis.pending[first - begin : end - begin])
            axis.pending = axis.pending[end - begin :]
        if self._state.n == 0 and len(self._state.pending) == 0:
            self._base = first
        self._state, seconds = self._analyser.step(self._state, np.stack(columns, axis=1))
        for second in seconds:
            self._say(second, out)

    def _say(self, second: MotionSecond, out: Outbox) -> None:
        at_us = self._timeline.at(self._base + second.first_index)
        end_us = self._timeline.at(self._base + second.first_index + second.n_samples)
        self.moving = second.moving
        self._activity.append(second.activity_mg if second.reason is None else None)
        self._steps.append(second.steps)
        self._seconds += 1
        if str(second.posture) != self._posture:
            self._posture = str(second.posture)
            told: Evidence = {"posture": self._posture}
            if second.reason is not None and second.posture is Posture.UNKNOWN:
                told["reason"] = second.reason
            self._finding("posture", at_us, end_us, told, out)
        if second.fell and second.impact_index is not None:
            impact_us = self._timeline.at(self._base + second.impact_index)
            still_s = (end_us - impact_us) / US_PER_S
            detail = f"lying still for {still_s:.0f} s after an impact"
            evidence: Evidence = {"on": True, "detail": detail, "posture": str(second.posture), "still_s": still_s}
            self._finding("fall", impact_us, end_us, evidence, out)
        if self._seconds % EVERY_S == 0:
            known = [one for one in self._activity if one is not None]
            enough = 2 * len(known) > len(self._activity)
            reason = None if enough else second.reason or "missing"
            self._number(Code.ACTIVITY, end_us, sum(known) / len(known) if enough else None, reason, out)
            steps = float(sum(self._steps)) if enough and len(self._steps) == MINUTE else None
            self._number(Code.STEP_RATE, end_us, steps, None if steps is not None else reason or "learning", out)

    def _finding(self, kind: str, at_us: int, known_us: int, evidence: Evidence, out: Outbox) -> None:
        out.add(
            known_us,
            Finding(
                id=self._ids.event(),
                patient=self._patient,
                stream=self._info.id,
                start_us=at_us,
                simulated=self._simulated,
                kind=kind,
                evidence=evidence,
            ),
        )

    def _number(self, code: Code, at_us: int, value: float | None, reason: str | None, out: Outbox) -> None:
        out.add(
            at_us,
            Numeric(
                id=self._ids.event(),
                patient=self._patient,
                stream=self._info.id,
                start_us=at_us,
                simulated=self._simulated,
                code=code,
                value=value,
                unit=FACTS[code].unit,
                validity=Validity.REJECTED if value is None else Validity.GOOD,
                reason=reason,
                source=self._info.id,
            ),
        )
