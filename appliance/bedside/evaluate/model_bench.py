"""What each model costs by runtime, and how much memory all of them need above NumPy, SciPy and the runtime.

Memory is that of a process of its own: resident size once the libraries are imported, and again once the models were
loaded as the gateway loads them (signature checked) and have each judged a batch.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import Any, Final

from bedside.core.errors import SetupError
from bedside.core.events import Json
from bedside.models import inference

ROWS: Final = 2000
SINGLES: Final = 500
AN_HOUR: Final = {"beats": 75 * 60, "rhythm": 360}
"""Inferences of an hour of one lead: a heart at 75/min; half minutes every 10 s (every minute while calm)."""
MEMORY_GOAL_MIB: Final = 20.0

_CHILD: Final = """
import gc, importlib, json, sys, time
import numpy, scipy.linalg, scipy.ndimage, scipy.signal, scipy.special
importlib.import_module(sys.argv[1] + ".interpreter")

def resident_kib():
    gc.collect()
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

before = resident_kib()
from bedside.models import inference, shelf
from bedside.models.outputs import fixed_windows
inference.RUNTIMES = (sys.argv[1],)
loaded = shelf.load(more_keys=tuple)
for model in loaded.models.values():
    model.run(fixed_windows(model.n_inputs, 64))
kib = resident_kib() - before
costs, n_batch, n_single = {}, int(sys.argv[2]), int(sys.argv[3])
for name, model in loaded.models.items():
    rows = fixed_windows(model.n_inputs, n_batch)
    began_s = time.process_time()
    model.run(rows)
    batch_us = (time.process_time() - began_s) * 1e6 / n_batch
    began_s = time.process_time()
    for at in range(n_single):
        model.run(rows[at : at + 1])
    costs[name] = [batch_us, (time.process_time() - began_s) * 1e6 / n_single]
print(json.dumps({"runtime": model.runtime, "kib": kib, "costs": costs}))
"""


def measure() -> dict[str, Json]:
    """Every shipped model on every runtime that is installed. Raises `SetupError` when there is none."""
    runtimes = [name for name in inference.RUNTIMES if importlib.util.find_spec(name) is not None]
    if not runtimes:
        raise SetupError("no runtime for models is installed", hint="install the versions of requirements/run.txt")
    return {"runtimes": [_of_runtime(name) for name in runtimes], "memory_goal_mib": MEMORY_GOAL_MIB}


def _of_runtime(name: str) -> dict[str, Json]:
    """Raises `SetupError` when the process that measures fails."""
    arguments = [sys.executable, "-c", _CHILD, name, str(ROWS), str(SINGLES)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise SetupError(
            f"{name}: the models cannot be measured ({(done.stderr.splitlines() or ['no word'])[-1]})",
            hint="`bedside models verify` says whether they run",
        )
    facts = json.loads(done.stdout)
    models: dict[str, Json] = {
        model: {
            "batch_us": round(batch_us, 2),
            "single_us": round(single_us, 2),
            "cpu_s_per_hour": round(single_us * AN_HOUR[model] / 1e6, 4),
        }
        for model, (batch_us, single_us) in facts["costs"].items()
    }
    return {"runtime": facts["runtime"], "models": models, "memory_mib": round(facts["kib"] / 1024, 1)}


def as_text(document: dict[str, Any]) -> list[str]:
    """Lines for people."""
    lines = ["models alone, by runtime (inference; describing what they judge is in the stages above):"]
    for one in document["runtimes"]:
        for name, costs in one["models"].items():
            lines.append(
                f"  {one['runtime']}, {name}: {costs['single_us']:.1f} us alone, {costs['batch_us']:.1f} us in a "
                f"batch, at most {costs['cpu_s_per_hour']:.3f} CPU s per hour of one lead"
            )
        lines.append(
            f"  {one['runtime']}: {one['memory_mib']:g} MiB resident for all models above numpy, scipy and the runtime "
            f"(goal {document['memory_goal_mib']:g} MiB)"
        )
    return lines
