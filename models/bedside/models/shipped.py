"""Where the models that Bedside ships lie: in the wheel beside this file, in a working tree in `models/`."""

from __future__ import annotations

from pathlib import Path

from bedside.core.errors import SetupError
from bedside.models.inference import Manifest, Model

_HERE = Path(__file__).resolve().parent
_FOLDERS = (_HERE / "shipped", _HERE.parent.parent)  # wheel, working tree


def folder() -> Path:
    """The folder with `manifest.json` and the `.tflite` files. Raises `SetupError` when there is none."""
    for candidate in _FOLDERS:
        if (candidate / "manifest.json").is_file():
            return candidate
    raise SetupError(f"no models at {_FOLDERS[0]}", hint="reinstall Bedside: its models did not come with it")


def path(name: str) -> Path:
    """The file of the model `name` ("beats"); it need not exist: `Model.load` says so."""
    return folder() / f"{name}.tflite"


def for_training(name: str) -> Model:
    """The model `name`, whoever signed it or nobody: what was trained a minute ago trains the next one.

    Raises `SetupError` when it is not what its manifest says.
    """
    return Model.load(path(name), Manifest.unsigned(folder() / "manifest.json"))
