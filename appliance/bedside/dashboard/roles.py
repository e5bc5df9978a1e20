"""Who may do what on the pages: five roles, and the permission that each route asks for.

A route names its permission with `@needs`; one that changes something and names none needs `ANSWER`, so a route that
somebody forgets is closed to those who only look. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


class Role(StrEnum):
    """What somebody is on this box."""

    CLINICIAN = "clinician"
    NURSE = "nurse"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"
    PATIENT = "patient"


class May(StrEnum):
    """What a route lets somebody do."""

    LOOK = "look"  # at patients: waves, numbers, events
    ANSWER = "answer"  # acknowledge, pause the sound, enter observations, standby
    REVIEW = "review"  # confirm and reclassify what was found
    LIMITS = "limits"  # of one patient, within bounds
    SWITCH_OFF = "switch_off"  # turn an alarm off for a time
    MANAGE = "manage"  # accounts, tests of the alarm signals
    AUDIT = "audit"  # who did what
    OWN = "own"  # what anybody signed in may: her own session


GRANTED: dict[Role, frozenset[May]] = {
    Role.CLINICIAN: frozenset({May.LOOK, May.ANSWER, May.REVIEW, May.LIMITS, May.SWITCH_OFF, May.OWN}),
    Role.NURSE: frozenset({May.LOOK, May.ANSWER, May.REVIEW, May.LIMITS, May.OWN}),
    Role.ADMINISTRATOR: frozenset({May.MANAGE, May.AUDIT, May.OWN}),
    Role.AUDITOR: frozenset({May.AUDIT, May.OWN}),
    Role.PATIENT: frozenset({May.OWN}),
}
GLASS: frozenset[May] = frozenset({May.LOOK, May.ANSWER})
"""What breaking the glass gives for an hour, with a reason, audited and shown: looking and answering, no more."""


def allowed(role: Role, what: May, *, glass: bool = False) -> bool:
    """May somebody of this role do this? `glass`: she has broken the glass."""
    return what in GRANTED[role] or (glass and what in GLASS)


def needs(what: May) -> Callable[[View], View]:
    """Marks a route with the permission that it asks for."""

    def mark(view: View) -> View:
        view.permission = what  # type: ignore[attr-defined]
        return view

    return mark


def asked_by(view: Callable[..., Any] | None, *, changes: bool) -> May:
    """The permission of a route: its mark, or `ANSWER` for one that changes something, `LOOK` for one that does not."""
    marked = getattr(view, "permission", None)
    if isinstance(marked, May):
        return marked
    return May.ANSWER if changes else May.LOOK
