"""A patient's state by somebody's hand: standby, single alarms off, discharge; and the test of the alarm system.

Each act has a name, a reason and an end, is audited when it begins, is said again every ten minutes (so that a start
finds it among the newest records), and ends loudly. A lethal alarm ends a standby: nobody is in standby with a
fibrillation.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from bedside.alarms.quiet import OFF_S_MAX, STANDBY_S, Act, Quiet, act, lethal, may_be_off
from bedside.alarms.self_check import EVERY_S, self_check
from bedside.alarms.table import default_table
from bedside.core.api import PatientView
from bedside.core.events import AlarmState, Audit, Event, Json, Priority
from bedside.core.time import US_PER_S
from bedside.ward.desk import DeskWard, named, whole, words
from bedside.ward.session import PatientSession
from bedside.ward.socket import Answer, RequestError

log = logging.getLogger(__name__)

SAID_S = 600.0
QUIET, QUIET_IN_FORCE = "quiet", "quiet_in_force"
DISCHARGED, ADMITTED = "discharge", "admit"


class CareDesk:
    """Holds what is switched off for whom."""

    def __init__(self, ward: DeskWard) -> None:
        self._ward = ward
        self._quiet: dict[str, Quiet] = {}
        self._said_s = -SAID_S
        self._checked_s = -EVERY_S

    def operations(self) -> dict[str, Answer]:
        """The socket's operations by name."""
        return {
            "quiet": self._answer_quiet,
            "standby": self._answer_standby,
            "end_standby": self._answer_end_standby,
            "alarm_off": self._answer_alarm_off,
            "alarm_on": self._answer_alarm_on,
            "alarm_test": self._answer_alarm_test,
        }

    def of(self, patient: str) -> Quiet:
        """What is switched off for her."""
        return self._quiet.get(patient, Quiet())

    def set(self, session: PatientSession, quiet: Quiet) -> None:
        """`quiet` holds for her from now on."""
        if quiet == Quiet():
            self._quiet.pop(session.patient, None)
        else:
            self._quiet[session.patient] = quiet
        session.set_quiet(quiet)

    def tick(self) -> None:
        """Twice a second: what has come to its end, and the self-check once a minute."""
        for session in self._ward.sessions():
            quiet = self._quiet.get(session.patient)
            if quiet is not None:
                self._look(session, quiet)
        now_s = self._ward.clock.monotonic_s()
        if now_s - self._said_s >= SAID_S:
            self._said_s = now_s
            for patient, quiet in self._quiet.items():
                self._ward.audit("gateway", QUIET_IN_FORCE, patient=patient, quiet=plain(quiet))
        if now_s - self._checked_s >= EVERY_S:
            self._checked_s = now_s
            failed = self_check(default_table())
            self._ward.condition("alarm_system_failed", failed is not None, detail=failed or "")

    def mark(self, view: PatientView) -> None:
        """Tell on her tile what is switched off."""
        quiet = self._quiet.get(view["id"])
        if quiet is None:
            return
        if quiet.standby is not None:
            view["state"] = "standby"
            view["standby"] = {**quiet.standby.plain()}
        if quiet.off:
            view["alarms_off"] = {kind: one.plain() for kind, one in quiet.off.items()}

    def _look(self, session: PatientSession, quiet: Quiet) -> None:
        after, over = quiet.after(self._ward.clock.now_us())
        why = "its time is over"
        if after.standby is not None:
            since_us = after.standby.since_us
            told = [one for one in session.alarms() if one.state is AlarmState.ACTIVE or one.raised_us >= since_us]
            grave = next((one.kind for one in told if lethal(default_table()[one.kind])), None)
            if grave is not None:
                after, over = Quiet(None, after.off), [*over, "standby"]
                why = f"alarm: {grave.replace('_', ' ')}"
        if not over:
            return
        self.set(session, after)
        for kind in over:
            self._ward.audit(
                "gateway", f"{QUIET}_over", patient=session.patient, what=kind, why=why, quiet=plain(after)
            )
            if kind == "standby":
                session.condition("standby_ended", why=why)
            else:
                session.condition("alarm_on_again", what=kind.replace("_", " "))
        self._ward.changed()

    # ------------------------------------------------------------------ answers

    async def _answer_quiet(self, request: dict[str, Any]) -> dict[str, Json]:
        quiet = self.of(self._ward.session(request.get("patient")).patient)
        kinds: list[Json] = [
            {
                "kind": row.kind, "priority": str(row.priority), "alarm_class": str(row.alarm_class),
                "can_be_off": row.can_be_off,
            }
            for row in default_table().conditions.values()
        ]  # fmt: skip
        return {**plain(quiet), "conditions": kinds}

    async def _answer_standby(self, request: dict[str, Any]) -> dict[str, Json]:
        session = self._ward.session(request.get("patient"))
        unseen = [one for one in session.alarms() if one.state in (AlarmState.ACTIVE, AlarmState.LATCHED)]
        if any(one.priority is Priority.HIGH and one.alarm_class == "physiological" for one in unseen):
            raise RequestError("not_possible", "standby: an alarm of high priority is open: acknowledge it first")
        word = self._act(request, session, STANDBY_S[0], STANDBY_S[1])
        return await self._say(session, Quiet(word, self.of(session.patient).off), word.by, "standby")

    async def _answer_end_standby(self, request: dict[str, Any]) -> dict[str, Json]:
        session, by = self._ward.session(request.get("patient")), named(request)
        return await self._say(session, Quiet(None, self.of(session.patient).off), by, "end_standby")

    async def _answer_alarm_off(self, request: dict[str, Any]) -> dict[str, Json]:
        session, kind = self._ward.session(request.get("patient")), str(request.get("kind"))
        try:
            may_be_off(kind, default_table())
        except ValueError as error:
            by = named(request)
            self._ward.audit(by, "alarm_off_refused", patient=session.patient, kind=kind[:60], why=str(error)[:200])
            raise RequestError("bad_request", f"alarm_off: {error}") from error
        word, before = self._act(request, session, 60.0, OFF_S_MAX), self.of(session.patient)
        return await self._say(session, Quiet(before.standby, {**before.off, kind: word}), word.by, f"alarm_off {kind}")

    async def _answer_alarm_on(self, request: dict[str, Any]) -> dict[str, Json]:
        session, by, kind = self._ward.session(request.get("patient")), named(request), str(request.get("kind"))
        before = self.of(session.patient)
        off = {name: one for name, one in before.off.items() if name != kind}
        return await self._say(session, Quiet(before.standby, off), by, f"alarm_on {kind[:60]}")

    async def _answer_alarm_test(self, request: dict[str, Any]) -> dict[str, Json]:
        by, priority = named(request), str(request.get("priority"))
        if priority not in list(Priority):
            raise RequestError("bad_request", "priority: expected high, medium or low")
        self._ward.audit(by, "alarm_test", priority=priority)
        failed = self_check(default_table())
        self._ward.condition("alarm_system_failed", failed is not None, detail=failed or "")
        self._ward.condition(f"alarm_test_{priority}", True, by=by)
        return {"self_check": failed or "passed"}

    def _act(self, request: dict[str, Any], session: PatientSession, least_s: float, most_s: float) -> Act:
        by, reason, seconds = named(request), words(request, "reason"), whole(request, "seconds")
        try:
            return act(by, reason, seconds, self._ward.clock.now_us(), least_s=least_s, most_s=most_s)
        except ValueError as error:
            raise RequestError("bad_request", f"{request.get('op')}: {error}") from error

    async def _say(self, session: PatientSession, quiet: Quiet, by: str, what: str) -> dict[str, Json]:
        before = self.of(session.patient)
        self.set(session, quiet)
        self._ward.audit(by, QUIET, patient=session.patient, what=what, before=plain(before), quiet=plain(quiet))
        self._ward.changed()
        if not await self._ward.saved():
            raise RequestError("not_possible", f"{what}: in force, but the records cannot be written now")
        return plain(quiet)


def plain(quiet: Quiet) -> dict[str, Json]:
    """For the log and the screens."""
    standby: Json = quiet.standby.plain() if quiet.standby is not None else None
    return {"standby": standby, "off": {kind: one.plain() for kind, one in quiet.off.items()}}


def quiet_of(audits: Sequence[Event]) -> Quiet:
    """What a patient's newest audits (oldest first) say is switched off. Nothing where they cannot be read."""
    said = [one for one in audits if isinstance(one, Audit) and isinstance(one.detail.get("quiet"), dict)]
    if not said:
        return Quiet()
    values = said[-1].detail["quiet"]
    assert isinstance(values, Mapping)
    try:
        off = values["off"]
        assert isinstance(off, Mapping)
        standby = _read(values["standby"]) if values["standby"] is not None else None
        return Quiet(standby, {str(kind): _read(one) for kind, one in off.items()})
    except (ValueError, KeyError, TypeError, AssertionError):
        log.exception("what was switched off cannot be read: everything alarms")
        return Quiet()


def discharged(audits: Sequence[Event]) -> bool:
    """Do a patient's newest audits (oldest first) say that she was discharged, and not admitted since?"""
    said = [one for one in audits if isinstance(one, Audit) and one.action in (DISCHARGED, ADMITTED)]
    return bool(said) and said[-1].action == DISCHARGED


def _read(values: object) -> Act:
    if not isinstance(values, Mapping):
        raise TypeError("expected an act")
    until_us, since_us = values["until_us"], values["since_us"]
    if not isinstance(until_us, int) or not isinstance(since_us, int):
        raise TypeError("expected times")
    most_us = since_us + round(OFF_S_MAX * US_PER_S)
    return Act(by=str(values["by"]), reason=str(values["reason"]), until_us=min(until_us, most_us), since_us=since_us)
