"""Scenarios on a file system of its own that is really full, or really read-only: run under `unshare --mount`.

records_mounted.py full|read-only FOLDER      mounts 8 MB at FOLDER, prints what happened as JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.records.records_world import T0_US, numeric, opened, patient, same_blocks, second, stream

from bedside.core.errors import SetupError, StoreError
from bedside.core.ports import Batch
from bedside.records.store import RecordStore, open_reader
from bedside.records.verify import verify
from bedside.settings import Home

ADA = patient("Ada")
LEADS = [stream(ADA, str(number)) for number in range(8)]
END = T0_US + 10**12


def write(store: RecordStore, at_s: int) -> None:
    store.write(Batch([second(lead, at_s) for lead in LEADS], [numeric(ADA, T0_US + at_s * 1_000_000, float(at_s))]))


def until_refused(store: RecordStore, at_s: int, most: int) -> tuple[int, str]:
    for _ in range(most):
        try:
            write(store, at_s)
        except StoreError as error:
            return at_s, str(error)
        at_s += 1
    return at_s, ""


def whole(store: RecordStore, seconds: int) -> bool:
    values = [getattr(event, "value", None) for event in store.events(ADA.id, T0_US, END, ("numeric",), 100_000)]
    return values == list(range(seconds)) and all(
        same_blocks(store.blocks(lead.id, T0_US, END), [second(lead, at_s) for at_s in range(seconds)])
        for lead in LEADS[:2]
    )


def full(home: Path) -> dict[str, object]:
    """Full, full again after a clean-up, and in the end all that was called stored is there."""
    store = opened(home)
    store.put_patient(ADA)
    others = [home.parent / f"others-{number}" for number in range(2)]  # somebody else's files on the same disk
    for path in others:
        path.write_bytes(bytes(700_000))
    told: list[object] = []
    at_s = 0
    for place in [*others, None]:
        at_s, said = until_refused(store, at_s, 3000)
        again = [until_refused(store, at_s, 1)[1] for _ in range(3)]
        told.append({"seconds": at_s, "said": said, "again": again, "level": int(store.budget().level)})
        told.append(whole(store, at_s))
        if place is not None:
            place.unlink()
    store._connection.close()  # the power fails
    store._folder_lock.release()
    filler = (home.parent / "filler").open("wb")  # and the last byte is taken
    try:
        while True:
            filler.write(bytes(512))
            filler.flush()
    except OSError:
        pass
    reserve = [home.joinpath("reserve").exists()]
    found = _again(home, at_s)
    reserve.append(home.joinpath("reserve").exists())
    return {"told": told, "reserve": reserve, **found}


def read_only(home: Path) -> dict[str, object]:
    """The box starts on a disk that the kernel mounted read-only; then it is mended."""
    store = opened(home)
    store.put_patient(ADA)
    at_s, _ = until_refused(store, 0, 20)
    store.close()
    _mount("remount,ro", home.parent)
    said = hint = ""
    try:
        opened(home)
    except SetupError as error:
        said, hint = str(error), error.hint
    _mount("remount,rw", home.parent)
    store = opened(home)
    at_s, after = until_refused(store, at_s, 5)
    store.close()
    return {"said": said, "hint": hint, "after": after, "seconds": at_s, **_again(home, at_s)}


def _again(home: Path, seconds: int) -> dict[str, object]:
    store = opened(home)
    found: dict[str, object] = {"whole": whole(store, seconds), "damage": list(store.opening_report.damage)}
    store.close()
    reader = open_reader(Home(home))
    found["verified"] = verify(reader).ok
    reader.close()
    return found


def _mount(options: str, place: Path) -> None:
    subprocess.run(["mount", "-o", options, "-t", "tmpfs", "tmpfs", str(place)], check=True)


if __name__ == "__main__":
    _mount("size=8m", Path(sys.argv[2]))
    scenario = {"full": full, "read-only": read_only}[sys.argv[1]]
    print(json.dumps(scenario(Path(sys.argv[2]) / "home")))
