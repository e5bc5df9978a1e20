"""A process that writes records until it is killed, and says on stdout what it was told is stored.

    python records_writer.py FOLDER [early]

`early` is the broken build of the negative control: it says "stored" first and writes five batches at a time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.records import records_world
from tests.records.records_world import T0_US, alarm, numeric, opened

from bedside.core.codes import StreamKind
from bedside.core.events import AlarmState
from bedside.core.ports import Batch, Patient
from bedside.core.samples import StreamInfo


def patients(count: int) -> list[Patient]:
    return [
        Patient(id=f"{number:032x}", name=f"Name {number}", bed=f"Bed {number}", simulated=True)
        for number in range(count)
    ]


def lead(of: Patient) -> StreamInfo:
    return StreamInfo(
        id=f"{int(of.id, 16) + 1000:032x}",
        patient=of.id,
        wearable="w",
        kind=StreamKind.ECG,
        label="I",
        rate_hz=130.0,
        unit="mV",
        unit_per_count=0.001,
        simulated=True,
    )


def batch(number: int, of: Patient) -> Batch:
    """The `number`-th second: samples, a number, and an alarm that opens on odd seconds and ends on even ones."""
    at_us = T0_US + number * 1_000_000
    state = AlarmState.ACTIVE if number % 2 else AlarmState.ENDED
    counts = [number * 1000 + at for at in range(130)]
    return Batch(
        [records_world.block(lead(of), number * 130, counts, at_us)],
        [numeric(of, at_us, float(number)), alarm(of, at_us, state, f"alarm {number // 2}")],
    )


def main(folder: Path, early: bool) -> None:
    store = opened(folder)
    number = 0
    waiting: list[Batch] = []
    while True:
        for of in patients(1 + number // 20):
            store.put_patient(of)
            waiting.append(batch(number, of))
            if not early or len(waiting) == 5:
                for one in waiting:
                    store.write(one)
                waiting.clear()
            os.write(1, f"{int(of.id, 16)} {number}\n".encode())
        number += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), early="early" in sys.argv[2:])
