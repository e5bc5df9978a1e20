"""What is held usual of a patient: shown, and forgotten by name, as after an operation or with a new drug."""

from __future__ import annotations

from typing import Any

from bedside.core.events import Json
from bedside.ward.desk import DeskWard, named
from bedside.ward.socket import Answer, RequestError

FORGOTTEN = "forget_usual"


class UsualDesk:
    """The view into `monitor.anomaly`, and its reset."""

    def __init__(self, ward: DeskWard) -> None:
        self._ward = ward

    def operations(self) -> dict[str, Answer]:
        """The socket's operations by name."""
        return {"usual": self._answer_usual, "forget_usual": self._answer_forget}

    async def _answer_usual(self, request: dict[str, Any]) -> dict[str, Json]:
        return self._ward.session(request.get("patient")).usual()

    async def _answer_forget(self, request: dict[str, Any]) -> dict[str, Json]:
        session, by = self._ward.session(request.get("patient")), named(request)
        quantity = request.get("quantity")
        try:
            session.forget_usual(None if quantity is None else str(quantity))
        except KeyError as error:
            raise RequestError("bad_request", f"quantity: nothing called {quantity} is followed") from error
        self._ward.audit(by, FORGOTTEN, patient=session.patient, quantity=quantity or "all")
        self._ward.changed()
        return session.usual()
