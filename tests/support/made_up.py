"""Made-up patients and events for tests."""

from __future__ import annotations

from bedside.core.codes import Code
from bedside.core.events import Numeric
from bedside.core.ports import Patient
from bedside.core.samples import Validity


def one_patient() -> Patient:
    """A patient with one wearable `w`."""
    return Patient(id="p", name="Test Patient", bed="1", simulated=True, wearables=("w",))


def heart_rate_at(time_us: int, value: float | None) -> Numeric:
    """A heart rate from stream `s`."""
    return Numeric(
        id=f"n{time_us}", patient="p", start_us=time_us, code=Code.HEART_RATE, value=value, unit="/min",
        validity=Validity.GOOD if value is not None else Validity.REJECTED, reason=None, source="s",
    )  # fmt: skip
