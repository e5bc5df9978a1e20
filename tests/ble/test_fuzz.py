"""A short run of the fuzzer in every test, and proof that it sees what it looks for."""

from __future__ import annotations

import pytest
from tests.ble.fuzz_decoders import fuzz

from bedside.core.errors import DecodeError

pytestmark = pytest.mark.requirement("BLE-001")


def test_mutated_packets_give_a_value_or_a_decode_error() -> None:
    found = fuzz(1_500, seed=20_261)
    assert not found.faults, found.faults[:5]
    assert found.taken > 0.02 * found.tried, "most of it would be refused at the first byte"


def test_a_decoder_that_slips_is_found() -> None:
    def past_the_end(payload: bytes) -> int:
        if len(payload) < 3:
            raise DecodeError("x", "y", "z")
        return payload[payload[0] % 16]

    assert any("IndexError" in fault for fault in fuzz(500, 1, among={"bad": past_the_end}).faults)
