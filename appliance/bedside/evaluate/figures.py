"""Figures kept beside the compliance file: what a command measured, as JSON and as a table, with the command itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bedside.core.errors import SetupError
from bedside.core.events import Json


def write_figures(document: Mapping[str, Json], table: str, folder: Path, name: str, command: str) -> None:
    """Write `NAME.json` and `NAME.md` into `folder` (made if need be). Raises `SetupError` when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps({"command": command, **document}, indent=1) + "\n")
        text = f"# {name.capitalize()}\nMade by `{command}`; do not edit.\n\n{table}\n"
        (folder / f"{name}.md").write_text(text)
    except OSError as error:
        raise SetupError(f"{folder}: {error.strerror or error}", hint="run in a folder that you may write") from error
