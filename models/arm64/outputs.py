"""Run every model of a folder over the fixed windows on this machine; compare with its manifest, or write there.

    python models/arm64/outputs.py FOLDER [--write]

Needs NumPy and a runtime alone. Exit code 1 when an answer is not the promised one. After `--write` the manifest must
be signed anew: `bedside models sign FOLDER --key FILE`.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

from bedside.models.inference import Manifest, Model
from bedside.models.outputs import outputs_digest


def main(folder: Path, write: bool) -> int:
    path, machine = folder / "manifest.json", platform.machine()
    manifest = Manifest.unsigned(path)
    facts = json.loads(path.read_text())
    wrong = 0
    for entry in manifest.entries:
        model = Model.load(folder / f"{entry.name}.tflite", manifest)
        given = outputs_digest(model)
        promised = entry.outputs_on(machine)
        if write:
            facts["models"][entry.name].setdefault("outputs_sha256_on", {})[machine] = given
        wrong += given != promised and not write
        verdict = "written" if write else "as promised" if given == promised else f"promised: {promised}"
        sys.stdout.write(f"{entry.name} on {machine}, {model.runtime}: {given} ({verdict})\n")
    if write:
        path.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--write" in sys.argv[2:]))
