"""A process that writes and packs without end until it is killed; says the number of each second that is stored.

python records_packer.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.records.records_world import T0_US, block, numeric, opened
from tests.records.records_writer import lead, patients

from bedside.core.ports import Batch
from bedside.core.samples import Block
from bedside.records import compaction

ADA = patients(1)[0]
LEAD = lead(ADA)


def at(number: int) -> Block:
    return block(LEAD, number * 130, [number * 1000 + one for one in range(130)], T0_US + number * 1_000_000)


def main(folder: Path) -> None:
    compaction.PACK_ENTRIES_MAX = compaction.PACK_ENTRIES_MIN
    store = opened(folder)
    store.put_patient(ADA)
    number = 0
    while True:
        store.write(Batch([at(number)], [numeric(ADA, T0_US + number * 1_000_000)]))
        number += 1
        os.write(1, f"{number}\n".encode())
        while store.compact_step():
            pass


if __name__ == "__main__":
    main(Path(sys.argv[1]))
