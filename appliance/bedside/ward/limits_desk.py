"""The limits of each patient: shown, changed by name within bounds, found again after a start, tried on stored data."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from bedside.alarms.limits import FIELDS, PatientLimits, preset, read_back
from bedside.alarms.limits import view as limit_view
from bedside.alarms.table import default_table
from bedside.alarms.table import limits as table_limits
from bedside.alarms.what_if import KINDS, TYPES, Replay, with_delay
from bedside.core.api import PatientView
from bedside.core.codes import Code
from bedside.core.events import Audit, Beat, Event, Json, Numeric
from bedside.core.time import US_PER_S
from bedside.ward.desk import DeskWard, named, whole
from bedside.ward.session import PatientSession
from bedside.ward.socket import Answer, RequestError
from bedside.ward.view import Limits

log = logging.getLogger(__name__)

SAID_S = 600.0
SET_LIMIT, LIMITS_IN_FORCE = "set_limit", "limits_in_force"
LIMITED = (Code.HEART_RATE, Code.PULSE_RATE, Code.SPO2)
REPLAY_HOURS_MAX = 24
REPLAY_EVENTS_MAX = 400_000
REPLAY_BREATH_S = 0.004  # after each step: the loop has patients to watch
WOULD_BE_MAX = 200


class LimitsDesk:
    """Holds the limits that are not the preset's. `shown`: what stands beside numbers without any of her own."""

    def __init__(self, ward: DeskWard, shown: Limits) -> None:
        self._ward = ward
        self._shown = shown
        self._own: dict[str, PatientLimits] = {}
        self._said_s = -SAID_S
        self._replaying = asyncio.Lock()

    def operations(self) -> dict[str, Answer]:
        """The socket's operations by name."""
        return {"limits": self._answer_limits, "set_limit": self._answer_set_limit, "what_if": self._answer_what_if}

    def set(self, session: PatientSession, limits: PatientLimits) -> None:
        """`limits` are in force for her from now on."""
        if limits == preset():
            self._own.pop(session.patient, None)
        else:
            self._own[session.patient] = limits
        session.set_limits(limits, {**self._shown, **table_limits(limits.table(default_table()))})

    def of(self, patient: str) -> PatientLimits:
        """What is in force for her."""
        return self._own.get(patient, preset())

    def say_again(self) -> None:
        """Note limits in force again and again, so that a start finds them among the newest records."""
        now_s = self._ward.clock.monotonic_s()
        if now_s - self._said_s < SAID_S:
            return
        self._said_s = now_s
        for patient, limits in self._own.items():
            self._ward.audit("gateway", LIMITS_IN_FORCE, patient=patient, limits=limits.plain())

    def mark(self, view: PatientView) -> None:
        """Tell on her tile that limits are her own."""
        limits = self._own.get(view["id"])
        if limits is None:
            return
        view["limits_changed"] = True
        own = {str(code) for code in FIELDS if limit_view(limits, code)["changed"]}
        if str(Code.HEART_RATE) in own:
            own.add(str(Code.PULSE_RATE))
        for numeric in view["numerics"]:
            if numeric["code"] in own:
                numeric["limit_changed"] = True

    # ------------------------------------------------------------------ answers

    async def _answer_limits(self, request: dict[str, Any]) -> list[dict[str, Json]]:
        limits = self.of(self._ward.session(request.get("patient")).patient)
        return [limit_view(limits, code) for code in FIELDS]

    async def _answer_set_limit(self, request: dict[str, Any]) -> dict[str, Json]:
        session, by = self._ward.session(request.get("patient")), named(request)
        before = self.of(session.patient)
        try:
            limits, code = _wanted(before, request)
        except ValueError as error:
            asked = str(request.get("code"))[:60]
            self._ward.audit(by, "set_limit_refused", patient=session.patient, code=asked, why=str(error)[:200])
            raise RequestError("bad_request", f"set_limit: {error}") from error
        self.set(session, limits)
        self._ward.audit(
            by, SET_LIMIT, patient=session.patient, code=str(code), before=before.plain(), limits=limits.plain()
        )
        self._ward.changed()
        if not await self._ward.saved():
            raise RequestError("not_possible", "the limit is in force, but the records cannot be written now")
        return limit_view(limits, code)

    async def _answer_what_if(self, request: dict[str, Any]) -> dict[str, Json]:
        """What the last hours would have been with other limits or delays, beside what those in force would do."""
        session, hours = self._ward.session(request.get("patient")), whole(request, "hours", 8)
        if not 1 <= hours <= REPLAY_HOURS_MAX:
            raise RequestError("bad_request", f"hours: {hours} is not in 1 to {REPLAY_HOURS_MAX}")
        before = self.of(session.patient)
        delays = request.get("delay_s")
        try:
            limits, _ = _wanted(before, request)
            wanted = with_delay(limits.table(default_table()), dict(delays) if isinstance(delays, dict) else {})
        except (ValueError, TypeError) as error:
            raise RequestError("bad_request", f"what_if: {error}") from error
        if self._replaying.locked():
            raise RequestError("busy", "another question of this kind is being answered")
        async with self._replaying:
            events = await self._stored(session.patient, hours)
            now = await _replay(session.patient, events, before.table(default_table()))
            then = await _replay(session.patient, events, wanted)
        first_us = events[0].start_us if events else None
        return {"hours": hours, "events": len(events), "first_us": first_us, "now": now, "then": then}

    async def _stored(self, patient: str, hours: int) -> list[Event]:
        now_us = self._ward.clock.now_us()
        since_us = now_us - hours * 3600 * US_PER_S
        found = await self._ward.worker.run(
            lambda: self._ward.store.events(patient, since_us, now_us + 1, TYPES, REPLAY_EVENTS_MAX)
        )
        return [
            one for one in found
            if isinstance(one, Beat) or (isinstance(one, Numeric) and one.code in LIMITED and not one.stored)
        ]  # fmt: skip


def _wanted(before: PatientLimits, request: dict[str, Any]) -> tuple[PatientLimits, Code]:
    code = Code(str(request.get("code")))
    return before.changed(code, request.get("low"), request.get("high"), request.get("severe_low")), code


async def _replay(patient: str, events: Sequence[Event], table: Any) -> dict[str, Json]:
    replay = Replay(patient, events, table)
    for _ in replay.steps():
        await asyncio.sleep(REPLAY_BREATH_S)
    found = replay.found()
    counts: dict[str, Json] = {kind: sum(one.kind == kind for one in found) for kind in KINDS}
    alarms: list[Json] = [
        {"kind": one.kind, "raised_us": one.raised_us, "end_us": one.end_us, "text": one.text}
        for one in found[-WOULD_BE_MAX:]
    ]
    return {"total": len(found), "counts": counts, "alarms": alarms}


def limits_of(audits: Sequence[Event], now_us: int) -> PatientLimits | None:
    """The limits that a patient's newest audits (oldest first) say are in force; None: nothing is said."""
    said = [one for one in audits if isinstance(one, Audit) and one.action in (SET_LIMIT, LIMITS_IN_FORCE)]
    said = [one for one in said if one.start_us <= now_us] or said  # a clock that went back left times ahead
    if not said:
        return None
    try:
        return read_back(said[-1].detail.get("limits"))
    except ValueError:
        log.exception("limits in the records cannot be used: the preset is in force")
        return None
