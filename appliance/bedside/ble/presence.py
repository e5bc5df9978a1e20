"""Why a wearable may be silent, in words for whoever stands beside the patient; from what was last known of it.

Causes that ask for different hands are told apart: this box's own radio, an empty battery, a wearable taken off, one
at the edge of range. Where nothing speaks for one of them, none is claimed. Pure: times are passed in.
"""

from __future__ import annotations

EMPTY_PCT = 3.0
WEAK_DBM = -88
TAKEN_OFF_S = 120.0  # an H10 ends its link 45 s after it left the strap
DEAF_S = 15.0
"""A radio that hears nobody for so long, though there used to be others, is the likelier cause."""
OTHERS_S = 900.0
UNKNOWN = "is it on, charged, worn and near?"


class Presence:
    """What is known of one wearable's surroundings."""

    def __init__(self) -> None:
        self._battery_pct: float | None = None
        self._rssi_dbm: int | None = None
        self._off_skin_s: float | None = None
        self._scan_s: float | None = None  # when the present search began
        self._other_s: float | None = None  # when any other device was last heard

    def battery(self, pct: float) -> None:
        self._battery_pct = pct

    def contact(self, on_skin: bool, now_s: float) -> None:
        if on_skin:
            self._off_skin_s = None
        elif self._off_skin_s is None:
            self._off_skin_s = now_s

    def searching(self, now_s: float) -> None:
        """A search began."""
        self._scan_s = now_s

    def other(self, now_s: float) -> None:
        """Some other device was heard."""
        self._other_s = now_s

    def heard(self, rssi_dbm: int) -> None:
        """The wearable itself was heard."""
        self._rssi_dbm = rssi_dbm

    def words(self, now_s: float, lost_s: float) -> str:
        """The likeliest cause of a silence that began at `lost_s`, or the question that covers all."""
        if self._deaf(now_s):
            return "this box's Bluetooth hears no device at all: its radio may be dead or covered"
        if self._battery_pct is not None and self._battery_pct <= EMPTY_PCT:
            return f"its battery was nearly empty ({self._battery_pct:.0f} %): charge it or change the battery"
        if self._off_skin_s is not None and lost_s - self._off_skin_s <= TAKEN_OFF_S:
            return "it had no skin contact just before: it was probably taken off"
        if self._rssi_dbm is not None and self._rssi_dbm <= WEAK_DBM:
            return f"it was heard faintly ({self._rssi_dbm} dBm): it is probably out of range"
        return UNKNOWN

    def _deaf(self, now_s: float) -> bool:
        """Others were heard not long before this search, and nobody in it."""
        if self._scan_s is None or self._other_s is None or now_s - self._scan_s < DEAF_S:
            return False
        return self._other_s < self._scan_s and self._scan_s - self._other_s <= OTHERS_S
