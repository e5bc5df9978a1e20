"""What people make of what happened: reviews of events, observations that a nurse enters, trends, handover, fatigue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bedside.alarms.shift import fatigue, handover
from bedside.alarms.spot_rules import OBSERVED
from bedside.core.codes import FACTS, Code
from bedside.core.events import BeatClass, Event, Finding, Json, Numeric, RhythmLabel
from bedside.core.samples import Validity
from bedside.core.time import US_PER_S
from bedside.ward.desk import DeskWard, named, whole, words
from bedside.ward.session import PatientSession
from bedside.ward.socket import Answer, RequestError

VERDICTS = ("confirmed", "rejected", "reclassified", "comment")
LABELS = (*(str(one) for one in BeatClass), *(str(one) for one in RhythmLabel), "artefact")
ENTERED = "entered by hand"
BOUNDS: dict[Code, tuple[float, float]] = {  # what can be a living adult's
    Code.TEMPERATURE: (25.0, 45.0),
    Code.NIBP_SYSTOLIC: (40.0, 300.0),
    Code.RESPIRATION_RATE: (2.0, 80.0),
}
SPAN_S_MAX = 28 * 86_400
POINTS_MAX = 1000
SHIFT_TYPES = ("alarm", "suppression", "audit")
SHIFT_EVENTS_MAX = 20_000


class ReviewDesk:
    """Answers about the past; writes reviews and observations in the name of who makes them."""

    def __init__(self, ward: DeskWard) -> None:
        self._ward = ward

    def operations(self) -> dict[str, Answer]:
        """The socket's operations by name."""
        return {
            "review": self._answer_review,
            "observe": self._answer_observe,
            "early_warning": self._answer_early_warning,
            "trend": self._answer_trend,
            "handover": self._answer_handover,
            "fatigue": self._answer_fatigue,
        }

    async def _answer_review(self, request: dict[str, Any]) -> dict[str, Json]:
        session, by = self._ward.session(request.get("patient")), named(request)
        verdict, event = str(request.get("verdict")), words(request, "event", 64)
        if verdict not in VERDICTS:
            raise RequestError("bad_request", f"verdict: expected one of {', '.join(VERDICTS)}")
        detail: dict[str, Json] = {"event": event, "verdict": verdict, "what": verdict}
        if verdict == "reclassified":
            if request.get("label") not in LABELS:
                raise RequestError("bad_request", f"label: expected one of {', '.join(LABELS)}")
            detail["label"] = str(request["label"])
        if verdict == "comment" or request.get("comment"):
            detail["comment"] = words(request, "comment", 500)
        for name in ("onset_us", "stream"):
            value = request.get(name)
            if isinstance(value, int | str) and not isinstance(value, bool) and len(str(value)) <= 64:
                detail[name] = value
        self._ward.audit(by, "review", patient=session.patient, **detail)
        await self._durable("review")
        return {"event": event, "verdict": verdict, "by": by, "at_us": self._ward.clock.now_us()}

    async def _answer_observe(self, request: dict[str, Any]) -> dict[str, Json]:
        """What a nurse sees and measures: oxygen given, awake, saturation scale, temperature, pressure, breathing."""
        session, by, now_us = self._ward.session(request.get("patient")), named(request), self._ward.clock.now_us()
        seen: dict[str, Json] = {
            name: request[name] for name in ("oxygen", "alert") if isinstance(request.get(name), bool)
        }
        scale = request.get("spo2_scale")
        if scale is not None:
            if scale not in (1, 2):
                raise RequestError("bad_request", "spo2_scale: expected 1 or 2")
            seen["spo2_scale"] = scale
        numbers = [self._entered(session, request, code, now_us) for code in BOUNDS]
        events: list[Event] = [one for one in numbers if one is not None]
        if not seen and not events:
            raise RequestError("bad_request", "observe: nothing was entered")
        if seen:
            events.insert(
                0,
                Finding(
                    id=self._ward.event_id(), patient=session.patient, start_us=now_us, kind=OBSERVED, evidence=seen
                ),
            )
        for event in events:
            self._ward.say(event)
        entered = sorted([*seen, *(str(one.code) for one in events if isinstance(one, Numeric))])
        self._ward.audit(by, "observe", patient=session.patient, what=", ".join(entered))
        self._ward.changed()
        await self._durable("observe")
        return session.early_warning()

    def _entered(self, session: PatientSession, request: dict[str, Any], code: Code, now_us: int) -> Numeric | None:
        value = request.get(str(code))
        if value is None:
            return None
        least, most = BOUNDS[code]
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise RequestError("bad_request", f"{FACTS[code].label}: expected {least:g} to {most:g} {FACTS[code].unit}")
        return Numeric(
            id=self._ward.event_id(), patient=session.patient, start_us=now_us, code=code, value=float(value),
            unit=FACTS[code].unit, source=ENTERED, validity=Validity.GOOD,
        )  # fmt: skip

    async def _answer_early_warning(self, request: dict[str, Any]) -> dict[str, Json]:
        return self._ward.session(request.get("patient")).early_warning()

    async def _answer_trend(self, request: dict[str, Any]) -> dict[str, Json]:
        session = self._ward.session(request.get("patient"))
        start_us, end_us, points = _span(request), whole(request, "end_us"), whole(request, "points", 240)
        if not 0 < end_us - start_us <= SPAN_S_MAX * US_PER_S or not 1 <= points <= POINTS_MAX:
            raise RequestError("bad_request", f"trend: expected a span of at most 28 days and 1 to {POINTS_MAX} points")
        try:
            code = Code(str(request.get("code")))
        except ValueError as error:
            raise RequestError("bad_request", "code: not known") from error
        store = self._ward.store
        found = await self._ward.worker.run(lambda: store.trend(session.patient, str(code), start_us, end_us, points))
        return {
            "code": str(code), "label": FACTS[code].label, "unit": FACTS[code].unit, "decimals": FACTS[code].decimals,
            "start_us": start_us, "end_us": end_us,
            "points": [[one.start_us, one.low, one.mean, one.high, one.count] for one in found],
        }  # fmt: skip

    async def _answer_handover(self, request: dict[str, Any]) -> dict[str, Json]:
        return await self._by_patient(request, lambda events, _span_s: handover(events))

    async def _answer_fatigue(self, request: dict[str, Any]) -> dict[str, Json]:
        return await self._by_patient(request, fatigue)

    async def _by_patient(
        self, request: dict[str, Any], of: Callable[[list[Event], float], dict[str, Json]]
    ) -> dict[str, Json]:
        start_us, end_us = _span(request), self._ward.clock.now_us() + 1
        if not 0 < end_us - start_us <= SPAN_S_MAX * US_PER_S:
            raise RequestError("bad_request", "start_us: expected a time of the last 28 days")
        found: list[Json] = []
        for session in self._ward.sessions():
            patient = session.board.patient
            events = await self._ward.worker.run(
                lambda one=patient.id: self._ward.store.events(one, start_us, end_us, SHIFT_TYPES, SHIFT_EVENTS_MAX)  # type: ignore[misc]
            )
            span_s = (end_us - start_us) / US_PER_S
            found.append({"id": patient.id, "name": patient.name, "bed": patient.bed, **of(list(events), span_s)})
        return {"start_us": start_us, "end_us": end_us, "patients": found}

    async def _durable(self, what: str) -> None:
        if not await self._ward.saved():
            raise RequestError("not_possible", f"{what}: the records cannot be written now; it is kept until they can")


def _span(request: dict[str, Any]) -> int:
    return whole(request, "start_us")
