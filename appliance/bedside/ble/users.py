"""Whose measurement is it, of a cuff or scale that several people use: by the user index in its packet. Pure.

Blood Pressure Service 1.1, Weight Scale Service 1.0 and Body Composition Service 1.0: 0 to 254 is a user, 255 is
nobody known. Where a patient has an index, only her own numbers pass; what may be somebody else's is withheld.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bedside.ble import blood_pressure, weight


class _ByUser(Protocol):
    @property
    def user_id(self) -> int | None: ...


_DECODE: dict[str, Callable[[bytes], _ByUser]] = {
    blood_pressure.MEASUREMENT: blood_pressure.decode_blood_pressure,
    weight.WEIGHT: weight.decode_weight,
    weight.BODY_COMPOSITION: weight.decode_body_composition,
}


def not_hers(uuid: str, payload: bytes, user_index: int | None) -> str | None:
    """Why a measurement may be somebody else's; None: it is hers, or no index was set. Raises `DecodeError`."""
    if user_index is None or uuid not in _DECODE:
        return None
    said = _DECODE[uuid](payload).user_id
    if said is None or said == blood_pressure.USER_UNKNOWN:
        return "the device does not say who was measured"
    return None if said == user_index else "measured as another user of this device"
