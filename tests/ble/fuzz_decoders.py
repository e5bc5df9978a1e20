"""Throw bytes at every decoder for as long as you like: `python tests/ble/fuzz_decoders.py SECONDS [SEED]`.

Bytes are legal packets with bits flipped, bytes cut, doubled or put in, and plain noise. What raises anything but
`DecodeError`, takes longer than `SLOW_S`, or gives a value whose encoding decodes to another one, is printed in
hexadecimal, and the exit status is 1.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bedside.ble import pmd
from bedside.ble.characteristics import CHARACTERISTICS
from bedside.ble.drivers.api import Driver, Stream
from bedside.ble.drivers.registry import OURS
from bedside.core.errors import DecodeError

SLOW_S = 0.5
NOISE_MAX = 96
STREAM = Stream(rate_hz=250.0, mv_per_count=0.001)
SEEDS = (
    "1648e803", "00600048000000", "1f6100480061004800610048001f00000000", "00a00a00fe", "06660100fee907010203040506",
    "1e800050005a00ea0701020304050646000001", "0f0500ea070102030405060000b400f100000000",
    "08006400050000 00", "0601010600", "ea07010203040506010000", "00" * 10 + "010203", "0b00e907010203040506f80064fe01",
    "02" + "00" * 9 + "80" + "01020304", "034500000000000000000000640064000400", "0245" + "00" * 24, "f002000000000182",
    "64", "00f4010a0000000000",
)  # fmt: skip


@dataclass
class Found:
    """What a run of the fuzzer saw."""

    tried: int = 0
    taken: int = 0  # decoded to a value
    faults: list[str] = field(default_factory=list)


def decoders() -> dict[str, Callable[[bytes], Any]]:
    """Everything that reads bytes of a wearable."""
    found: dict[str, Callable[[bytes], Any]] = {entry.name: entry.decode for entry in CHARACTERISTICS.values()}
    found |= {
        "PMD command": pmd.decode_command,
        "PMD response": pmd.decode_response,
        "PMD features": pmd.decode_features,
        "PMD ECG": pmd.decode_ecg_frame,
    }
    return found | {f"driver {driver.name}": _driver_decoder(driver) for driver in OURS}


def _driver_decoder(driver: Driver) -> Callable[[bytes], Any]:
    return lambda payload: driver.decode(payload, STREAM)


def mutated(dice: random.Random, packet: bytes) -> bytes:
    """`packet` with a few things wrong, or noise."""
    if dice.random() < 0.2:
        return dice.randbytes(dice.randrange(NOISE_MAX))
    raw = bytearray(packet)
    for _ in range(dice.randrange(1, 5)):
        at = dice.randrange(len(raw) + 1)
        match dice.randrange(5):
            case 0 if raw:
                raw[at % len(raw)] ^= 1 << dice.randrange(8)
            case 1 if raw:
                raw[at % len(raw)] = dice.choice((0x00, 0x7F, 0x80, 0xFE, 0xFF))
            case 2:
                del raw[at:]
            case 3:
                raw[at:at] = dice.randbytes(dice.randrange(1, 5))
            case _:
                raw += raw[at:]
    return bytes(raw[: NOISE_MAX * 6])


def check(name: str, decode: Callable[[bytes], Any], payload: bytes, found: Found) -> None:
    """One packet through one decoder."""
    found.tried += 1
    began_s = time.perf_counter()
    try:
        value = decode(payload)
    except DecodeError:
        return
    except Exception as error:  # noqa: BLE001 - this is what a fuzzer looks for
        found.faults.append(f"{name}: {payload.hex()}: {type(error).__name__}")
        return
    if time.perf_counter() - began_s > SLOW_S:
        found.faults.append(f"{name}: {payload.hex()}: slow")
    found.taken += 1
    if value is None or not hasattr(value, "encode") or name in ("PMD features", "PMD response", "PMD ECG"):
        return
    try:
        again = decode(value.encode())
    except ValueError:
        return  # a value that came in a form that no encoder of ours makes
    except DecodeError:
        found.faults.append(f"{name}: {payload.hex()}: its value is refused when it is encoded")
        return
    if again != value:
        found.faults.append(f"{name}: {payload.hex()}: another value after encoding")


def fuzz(
    rounds: int, seed: int, until_s: float = float("inf"), among: dict[str, Callable[[bytes], Any]] | None = None
) -> Found:
    """`rounds` packets for each decoder, or as many as fit before `until_s` of `time.monotonic`."""
    dice, found = random.Random(seed), Found()
    seeds = [bytes.fromhex(one) for one in SEEDS]
    targets = decoders() if among is None else among
    for _ in range(rounds):
        payload = mutated(dice, dice.choice(seeds))
        for name, decode in targets.items():
            check(name, decode, payload, found)
        if time.monotonic() > until_s:
            break
    return found


if __name__ == "__main__":
    result = fuzz(sys.maxsize, int(sys.argv[2]) if len(sys.argv) > 2 else 0, time.monotonic() + float(sys.argv[1]))
    print(f"{result.tried} packets, {result.taken} of them values, {len(result.faults)} faults")
    print("\n".join(result.faults[:50]))
    sys.exit(bool(result.faults))
