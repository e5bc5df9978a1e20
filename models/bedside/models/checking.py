"""Is a folder of models what it says, and does it answer here as it answered where it was made?

`check` reads a folder as the gateway would (signature, digests, shapes), and then runs every model over the fixed
windows: equal digests of the outputs mean that this machine's runtime gives the bytes that others will re-execute.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bedside.core.errors import SetupError
from bedside.models.beats import BeatClassifier
from bedside.models.inference import Manifest, Model
from bedside.models.outputs import N_WINDOWS, outputs_digest
from bedside.models.rhythm import RhythmJudge

_FITS: Final[dict[str, Callable[[Model], object]]] = {"beats": BeatClassifier, "rhythm": RhythmJudge}
"""Every model that Bedside runs, and what refuses one of another shape."""
NAMES: Final = tuple(_FITS)


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """One model that may be run, and the runtime that was asked.

    `answers`: True: over the fixed windows it gave the promised bytes; None: none are promised for this machine.
    """

    name: str
    sha256: str
    size_bytes: int
    runtime: str
    answers: bool | None


@dataclass(frozen=True, slots=True)
class CheckedSet:
    """A whole folder. `signer`: the key (hex) that vouches for it."""

    signer: str
    models: tuple[CheckedModel, ...]


def fits(model: Model) -> None:
    """Raises `SetupError` when the model is of another shape than this version of Bedside describes beats with."""
    _FITS[model.name](model)


def check(folder: Path, more_keys: Callable[[], Collection[str]] | None = None) -> CheckedSet:
    """Check the models in `folder`: takes about a second. `more_keys`: see `signing.checked`.

    Raises `SetupError` for the first thing that is wrong: the signature, a missing, damaged or swapped file, another
    shape than this version of Bedside describes, or outputs that are not the promised bytes.
    """
    manifest = Manifest.load(folder / "manifest.json", more_keys)
    if manifest.signer is None:  # pragma: no cover  (load gives one)
        raise SetupError(f"{folder}: not signed", hint="sign it: `bedside models sign`")
    listed = {entry.name: entry for entry in manifest.entries}
    missing = sorted(set(NAMES) - set(listed))
    if missing:
        raise SetupError(
            f"{folder}: the manifest lacks {', '.join(missing)}", hint="train it too: `bedside train --help`"
        )
    models = []
    for name in NAMES:
        model = Model.load(folder / f"{name}.tflite", manifest)
        fits(model)
        given, promised = outputs_digest(model), listed[name].outputs_on(platform.machine())
        if promised is not None and given != promised:
            raise SetupError(
                f"{folder / f'{name}.tflite'}: over {N_WINDOWS} fixed windows {model.runtime} gives {given[:16]}…, the "
                f"manifest says {promised[:16]}…",
                hint="this runtime computes otherwise than the one the model was made with: install the versions of "
                "requirements/run.txt",
            )
        models.append(
            CheckedModel(name, model.digest, listed[name].size_bytes, model.runtime, True if promised else None)
        )
    return CheckedSet(manifest.signer, tuple(models))
