"""Record access control point (0x2A52), which glucose, CGM and oximetry share, both directions. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from bedside.ble.reader import Reader

RECORD_ACCESS = "00002a52-0000-1000-8000-00805f9b34fb"
SUCCESS = 1


class Op(IntEnum):
    """Op codes."""

    REPORT_RECORDS = 1
    DELETE_RECORDS = 2
    ABORT = 3
    REPORT_NUMBER_OF_RECORDS = 4
    NUMBER_OF_RECORDS = 5
    RESPONSE = 6


class Operator(IntEnum):
    """Which records: operators of a request. `NULL` where an operation has none."""

    NULL = 0
    ALL = 1
    LESS_OR_EQUAL = 2
    GREATER_OR_EQUAL = 3
    RANGE = 4
    FIRST = 5
    LAST = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAccess:
    """A request, or an answer.

    A request has an `operator`, and an `operand` (filter and limits, in hexadecimal) where the operator needs one; a
    response has `request_op` and `code` (1: success); a number of records has `count`.
    """

    op: Op
    operator: Operator | None = None
    operand: str | None = None
    request_op: int | None = None
    code: int | None = None
    count: int | None = None

    def encode(self) -> bytes:
        if self.op is Op.RESPONSE:
            return struct.pack("<BBBB", self.op, 0, self.request_op or 0, self.code or 0)
        if self.op is Op.NUMBER_OF_RECORDS:
            return struct.pack("<BBH", self.op, 0, self.count or 0)
        return bytes([self.op, self.operator or 0]) + bytes.fromhex(self.operand or "")


def decode_record_access(payload: bytes) -> RecordAccess:
    """Decode 0x2A52. Raises `DecodeError`, and nothing else.

    Refused: reserved op codes and operators, an operator that the operation cannot have, a missing or superfluous
    operand, and bytes after the end.
    """
    reader = Reader("record access control point 2A52", payload)
    op_code = reader.u8("op code")
    if op_code not in _OPS:
        reader.refuse("op code", f"{op_code}: expected 1 to 6")
    op = Op(op_code)
    operator_code = reader.u8("operator")
    if operator_code > max(Operator):
        reader.refuse("operator", f"{operator_code}: expected 0 to 6")
    operator = Operator(operator_code)
    if (operator is Operator.NULL) != (op in (Op.ABORT, Op.NUMBER_OF_RECORDS, Op.RESPONSE)):
        reader.refuse("operator", f"{operator_code}: does not go with op code {op_code}")
    if op is Op.RESPONSE:
        value = RecordAccess(op=op, request_op=reader.u8("request op code"), code=reader.u8("response code"))
    elif op is Op.NUMBER_OF_RECORDS:
        value = RecordAccess(op=op, count=reader.u16("number of records"))
    else:
        needs = operator in (Operator.LESS_OR_EQUAL, Operator.GREATER_OR_EQUAL, Operator.RANGE)
        operand = reader.rest() if needs else b""
        if needs and len(operand) < 2:
            reader.refuse("operand", f"a filter and its limit are needed, {len(operand)} bytes left")
        value = RecordAccess(op=op, operator=operator, operand=operand.hex() or None)
    reader.end()
    return value


_OPS = frozenset(int(op) for op in Op)
