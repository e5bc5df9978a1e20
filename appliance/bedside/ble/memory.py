"""What a wearable kept while nobody listened: which services have a memory, and how their records are told apart.

A glucose meter and a glucose sensor number their records (GLS 1.0: sequence number; CGMS 1.0: minutes since the
session began), so that what was fetched once is not fetched again. An oximeter's stored spot checks have no number
(PLXS 1.0, 3.4: only "all records"); the whole packet is its own name there. Pure; the asking is `back_fill`'s.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from bedside.ble import glucose, plx
from bedside.ble.racp import Op, Operator, RecordAccess

FILTER_NUMBER = 1
"""Filter type of a sequence number (GLS) and of a time offset (CGMS)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A service with records. `number`: of a record, None where records have none; raises `DecodeError`."""

    service: str
    measurement: str
    numbered: bool
    number: Callable[[bytes], int | None]

    def since(self, op: Op, after: int | None) -> RecordAccess:
        """Ask for (or of) the records after number `after`; all of them where there are no numbers."""
        if after is None or not self.numbered:
            return RecordAccess(op=op, operator=Operator.ALL)
        return RecordAccess(op=op, operator=Operator.GREATER_OR_EQUAL, operand=_operand(min(after + 1, 0xFFFF)))

    def up_to(self, last: int | None) -> RecordAccess:
        """Ask to erase the records up to number `last`, or all."""
        if last is None or not self.numbered:
            return RecordAccess(op=Op.DELETE_RECORDS, operator=Operator.ALL)
        return RecordAccess(op=Op.DELETE_RECORDS, operator=Operator.LESS_OR_EQUAL, operand=_operand(last))


def _operand(number: int) -> str:
    return struct.pack("<BH", FILTER_NUMBER, number).hex()


def limit_of(request: RecordAccess) -> int | None:
    """The number that a request's operand names; None where it has none, or one of another filter."""
    raw = bytes.fromhex(request.operand or "")
    if len(raw) != 3 or raw[0] != FILTER_NUMBER:
        return None
    return int.from_bytes(raw[1:], "little")


def _sequence(packet: bytes) -> int | None:
    return glucose.decode_glucose(packet).sequence


def _minutes(packet: bytes) -> int | None:
    return max(record.time_offset_min for record in glucose.decode_cgm(packet).records)


MEMORIES: dict[str, Memory] = {
    one.measurement: one
    for one in (
        Memory(service=glucose.SERVICE, measurement=glucose.MEASUREMENT, numbered=True, number=_sequence),
        Memory(service=glucose.CGM_SERVICE, measurement=glucose.CGM_MEASUREMENT, numbered=True, number=_minutes),
        Memory(service=plx.SERVICE, measurement=plx.SPOT_CHECK, numbered=False, number=lambda _: None),
    )
}
"""By the characteristic that carries the records."""
