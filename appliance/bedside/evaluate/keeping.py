"""Figures kept in a folder: a document as JSON, and its table as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bedside.core.errors import SetupError


def keep(document: dict[str, Any], table: str, folder: Path, name: str, command: str) -> None:
    """Write `NAME.json` and `NAME.md` into `folder`, with the command that made them. Raises `SetupError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps({"command": command, **document}, indent=1) + "\n")
        (folder / f"{name}.md").write_text(f"# {name.capitalize()}\nMade by `{command}`; do not edit.\n\n{table}\n")
    except OSError as error:
        raise SetupError(f"{folder}: {error.strerror or error}", hint="run in a folder that you may write") from error
