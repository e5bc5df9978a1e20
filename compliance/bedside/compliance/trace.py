"""`bedside trace`: which test proves which requirement, read from the sources of both.

Tests are read as syntax trees, not run: a test proves a requirement when it, its class or its module
carries `pytest.mark.requirement("ID")`. An id that nobody proves, or that no requirement has, is a fault.
"""

from __future__ import annotations

import ast
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

from bedside.core.errors import SetupError


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of `compliance/requirements.yaml`."""

    id: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Who proves what."""

    requirements: tuple[Requirement, ...]
    tests: dict[str, tuple[str, ...]]  # requirement id: tests as `path::name`

    @property
    def unproven(self) -> list[str]:
        return [one.id for one in self.requirements if not self.tests.get(one.id)]

    @property
    def unknown(self) -> list[str]:
        known = {one.id for one in self.requirements}
        return sorted(set(self.tests) - known)


def read_requirements(path: Path) -> tuple[Requirement, ...]:
    """The requirements of a file. Raises `SetupError` naming what is wrong."""
    try:
        content = yaml.safe_load(path.read_text())
        found = tuple(
            Requirement(id=one["id"], text=one["text"], source=one["source"]) for one in content["requirements"]
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise SetupError(
            f"{path}: cannot be read as requirements: {error}", hint="each needs id, text, source"
        ) from error
    ids = [one.id for one in found]
    double = {one for one in ids if ids.count(one) > 1}
    if double:
        raise SetupError(f"{path}: {', '.join(sorted(double))} stands twice", hint="give each requirement its own id")
    return found


def _marks(expression: ast.expr) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement":
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def marks_in(source: str, path: str) -> Iterator[tuple[str, str]]:
    """`(requirement id, test)` for each mark in a test module's source."""
    tree = ast.parse(source)
    of_module = [
        mark
        for node in tree.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets)
        for mark in _marks(node.value)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            own = [mark for decorator in node.decorator_list for mark in _marks(decorator)]
            for mark in dict.fromkeys(own or of_module):
                yield mark, f"{path}::{node.name}"


def make_trace(root: Path) -> Trace:
    """The trace of a source tree."""
    tests: dict[str, list[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        for requirement, test in marks_in(path.read_text(), str(path.relative_to(root))):
            tests.setdefault(requirement, []).append(test)
    requirements = read_requirements(root / "compliance" / "requirements.yaml")
    return Trace(requirements, {key: tuple(value) for key, value in tests.items()})


def as_csv(trace: Trace) -> str:
    """The traceability table: id, requirement, source, test; one line for each pair, `OPEN` where there is no test."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "requirement", "source", "test"])
    for one in trace.requirements:
        for test in trace.tests.get(one.id, ("OPEN",)):
            writer.writerow([one.id, one.text, one.source, test])
    return out.getvalue()


@click.command()
@click.option("--root", type=click.Path(path_type=Path, exists=True), default=".", help="The source tree.")
@click.option("--csv", "as_table", is_flag=True, help="The whole table, as CSV.")
def trace(root: Path, as_table: bool) -> None:
    """Which test proves which requirement. Exit 1 when one is unproven or unknown."""
    found = make_trace(root)
    if as_table:
        click.echo(as_csv(found), nl=False)
    else:
        proven = len(found.requirements) - len(found.unproven)
        click.echo(
            f"{len(found.requirements)} requirements, {proven} proven by {sum(map(len, found.tests.values()))} tests"
        )
        for one in found.unproven:
            click.echo(f"open     {one}")
        for one in found.unknown:
            click.echo(f"unknown  {one} ({', '.join(found.tests[one])})")
    if found.unproven or found.unknown:
        raise click.exceptions.Exit(1)
