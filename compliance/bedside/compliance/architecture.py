"""The architecture as the code has it: rooms, their layers, and who imports whom; and a drawing of it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

COMPONENTS: Final = ("appliance", "signal", "models", "provisioning", "compliance")
_ROW, _BOX_W, _BOX_H, _GAP, _LEFT = 74, 104, 30, 14, 20


@dataclass(frozen=True, slots=True)
class Architecture:
    """`layers`: rooms from the top down; `imports`: (importer, imported) -> in how many modules."""

    layers: tuple[tuple[str, ...], ...]
    imports: dict[tuple[str, str], int]

    @property
    def rooms(self) -> tuple[str, ...]:
        """All rooms, top down."""
        return tuple(room for layer in self.layers for room in layer)

    @property
    def upward(self) -> list[tuple[str, str]]:
        """Imports that go up or sideways, against the layers: there may be none."""
        level = {room: at for at, layer in enumerate(self.layers) for room in layer}
        return sorted(pair for pair in self.imports if level.get(pair[0], 0) >= level.get(pair[1], 99))


def read_architecture(root: Path) -> Architecture:
    """From the sources, and the layers that `pyproject.toml` states."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    stated = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    layers = tuple(tuple(re.sub(r"[() ]", "", name) for name in line.split("|")) for line in stated)
    imports: Counter[tuple[str, str]] = Counter()
    for component in COMPONENTS:
        base = root / component / "bedside"
        for path in sorted(base.rglob("*.py")):
            room = path.relative_to(base).parts[0].removesuffix(".py")
            for other in _imported(path.read_text()):
                if other != room:
                    imports[room, other] += 1
    known = {room for layer in layers for room in layer}
    return Architecture(
        tuple(tuple(room for room in layer if _exists(root, room)) for layer in layers),
        {pair: count for pair, count in imports.items() if set(pair) <= known},
    )


def _exists(root: Path, room: str) -> bool:
    return any(
        (root / component / "bedside" / room).is_dir() or (root / component / "bedside" / f"{room}.py").is_file()
        for component in COMPONENTS
    )


def _imported(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module == "bedside":
            names += [f"bedside.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("bedside.")}
    return found


def drawing(found: Architecture) -> str:
    """An SVG: a row for each layer, a line for each import, thicker where more modules import."""
    layers = [layer for layer in found.layers if layer]
    widest = max(len(layer) for layer in layers)
    width = _LEFT * 2 + widest * (_BOX_W + _GAP)
    height = len(layers) * _ROW + 20
    at: dict[str, tuple[float, float]] = {}
    for row, layer in enumerate(layers):
        start = (width - len(layer) * (_BOX_W + _GAP) + _GAP) / 2
        for column, room in enumerate(layer):
            at[room] = start + column * (_BOX_W + _GAP), 10 + row * _ROW
    lines = []
    for (a, b), count in sorted(found.imports.items()):
        if a in at and b in at:
            (ax, ay), (bx, by) = at[a], at[b]
            x1, y1, x2, y2 = ax + _BOX_W / 2, ay + _BOX_H, bx + _BOX_W / 2, by
            lines.append(
                f'<path d="M{x1:.0f},{y1:.0f} C{x1:.0f},{y1 + 30:.0f} {x2:.0f},{y2 - 30:.0f} {x2:.0f},{y2:.0f}"'
                f' stroke-width="{min(0.5 + count / 6, 3):.1f}">'
                f"<title>{escape(a)} imports {escape(b)} in {count} modules</title></path>"
            )
    boxes = [
        f'<g><rect x="{x:.0f}" y="{y:.0f}" width="{_BOX_W}" height="{_BOX_H}" rx="5"/>'
        f'<text x="{x + _BOX_W / 2:.0f}" y="{y + 20:.0f}">{escape(room)}</text></g>'
        for room, (x, y) in at.items()
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img"'
        ' aria-label="Rooms of the code by layer, and their imports">'
        "<style>path{fill:none;stroke:#8094a8;opacity:.55}rect{fill:#fff;stroke:#33475b}"
        "text{font:12px sans-serif;text-anchor:middle;fill:#16202b}</style>"
        f"{''.join(lines)}{''.join(boxes)}</svg>\n"
    )
