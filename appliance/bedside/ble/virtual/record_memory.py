"""The memory of a virtual wearable and its record access control point, as GLS, CGMS and PLXS define it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bedside.ble import racp
from bedside.ble.memory import limit_of
from bedside.ble.racp import Op, Operator, RecordAccess
from bedside.core.errors import DecodeError

OP_NOT_SUPPORTED = 2
OPERATOR_NOT_SUPPORTED = 4
INVALID_OPERAND = 5
NO_RECORDS = 6
ABORTED = 1


@dataclass(slots=True)
class Answer:
    """Records to notify, in order, and what the control point then indicates."""

    records: list[bytes] = field(default_factory=list)
    response: RecordAccess | None = None


class RecordMemory:
    """Packets in the order in which they were measured; `number` tells a packet's own, None where it has none."""

    def __init__(self, number: Callable[[bytes], int | None], kept_max: int = 500) -> None:
        self.packets: list[bytes] = []
        self.erased: list[bytes] = []
        self.requests: list[RecordAccess] = []
        self._number = number
        self._kept_max = kept_max

    def keep(self, packet: bytes) -> None:
        """One more; the oldest goes when the memory is full."""
        self.packets.append(packet)
        del self.packets[: -self._kept_max]

    def obey(self, request_bytes: bytes) -> Answer:
        """What a write of the control point leads to."""
        try:
            request = racp.decode_record_access(request_bytes)
        except DecodeError:
            return self._said(request_bytes[0] if request_bytes else 0, INVALID_OPERAND)
        self.requests.append(request)
        if request.op is Op.ABORT:
            return self._said(Op.ABORT, ABORTED)
        chosen = self._chosen(request)
        if isinstance(chosen, int):
            return self._said(request.op, chosen)
        if request.op is Op.REPORT_NUMBER_OF_RECORDS:
            return Answer(response=RecordAccess(op=Op.NUMBER_OF_RECORDS, count=len(chosen)))
        if not chosen:
            return self._said(request.op, NO_RECORDS)
        if request.op is Op.DELETE_RECORDS:
            self.erased += chosen
            self.packets = [one for one in self.packets if one not in chosen]
            return self._said(request.op, racp.SUCCESS)
        if request.op is Op.REPORT_RECORDS:
            return Answer(
                records=chosen, response=RecordAccess(op=Op.RESPONSE, request_op=request.op, code=racp.SUCCESS)
            )
        return self._said(request.op, OP_NOT_SUPPORTED)

    def _chosen(self, request: RecordAccess) -> list[bytes] | int:
        """The records that a request names, or the code with which it is refused."""
        match request.operator:
            case Operator.ALL:
                return list(self.packets)
            case Operator.FIRST:
                return self.packets[:1]
            case Operator.LAST:
                return self.packets[-1:]
            case Operator.LESS_OR_EQUAL | Operator.GREATER_OR_EQUAL:
                limit = limit_of(request)
                if limit is None:
                    return INVALID_OPERAND
                numbers = [(one, self._number(one)) for one in self.packets]
                upwards = request.operator is Operator.GREATER_OR_EQUAL
                known = [(one, number) for one, number in numbers if number is not None]
                return [one for one, number in known if number == limit or (number > limit) is upwards]
            case _:
                return OPERATOR_NOT_SUPPORTED

    @staticmethod
    def _said(op: int, code: int) -> Answer:
        return Answer(response=RecordAccess(op=Op.RESPONSE, request_op=op, code=code))
