"""What the desks of the ward (limits, care, review ...) ask of it, and how they read a request.

A desk answers operations of the local socket for one subject. It may change what its patients' sessions do, and says
everything that somebody did through `audit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from bedside.core.events import Event, Json
from bedside.core.ports import Store
from bedside.core.time import Clock, Worker
from bedside.ward.session import PatientSession
from bedside.ward.socket import Answer, RequestError

NAME_CHARS_MAX = 100


class DeskWard(Protocol):
    """The ward, as a desk sees it."""

    @property
    def clock(self) -> Clock: ...

    @property
    def store(self) -> Store: ...

    @property
    def worker(self) -> Worker: ...

    def session(self, patient: object) -> PatientSession:
        """Raises `RequestError` for a patient who is not on this box."""
        ...

    def sessions(self) -> Sequence[PatientSession]: ...

    def audit(self, actor: str, action: str, *, patient: str | None = None, **detail: Json) -> None: ...

    def condition(self, kind: str, on: bool, *, key: str = "", **fields: Json) -> None: ...

    def say(self, event: Event) -> None:
        """An event of somebody's hand goes to the records, and to the patient's alarms where it is hers."""
        ...

    def event_id(self) -> str: ...

    def changed(self) -> None:
        """The screens are shown the ward anew."""
        ...

    async def saved(self) -> bool:
        """Everything said so far is on disk."""
        ...


class Desk(Protocol):
    """One subject's operations."""

    def operations(self) -> dict[str, Answer]: ...


def named(request: dict[str, Any]) -> str:
    """Who does it. Raises `RequestError` where nobody is named."""
    by = str(request.get("by") or "").strip()
    if not 0 < len(by) <= NAME_CHARS_MAX:
        raise RequestError("bad_request", f"{request.get('op')}: `by` must name who does it (1 to 100 characters)")
    return by


def whole(request: dict[str, Any], name: str, default: int | None = None) -> int:
    """A whole number of the request. Raises `RequestError`."""
    value = request.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RequestError("bad_request", f"{name}: expected a whole number, got {type(value).__name__}")
    return value


def words(request: dict[str, Any], name: str, most: int = 120) -> str:
    """A sentence of the request, single spaces. Raises `RequestError` where it is empty or too long."""
    value = request.get(name)
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not 0 < len(text) <= most:
        raise RequestError("bad_request", f"{name}: expected 1 to {most} characters")
    return text
