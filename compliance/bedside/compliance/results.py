"""Results of a test run, as pytest's JUnit XML gives them: which test passed, which did not."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bedside.core.errors import SetupError

BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Results:
    """`passed` by test (`tests/alarms/test_x.py::test_name`): whether all its cases ran and passed."""

    passed: Mapping[str, bool]
    when: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a file of `pytest --junitxml`. Raises `SetupError` when it is none, or has a document type."""
        try:
            if path.stat().st_size > BYTES_MAX:
                raise ValueError(f"more than {BYTES_MAX} bytes")
            content = path.read_text()
            if "<!DOCTYPE" in content or "<!ENTITY" in content:
                raise ValueError("a document type is not taken")
            root = ElementTree.fromstring(content)  # noqa: S314  (no entities: refused above)
        except (OSError, ValueError, ElementTree.ParseError) as error:
            raise SetupError(f"{path}: no results of a test run: {error}", hint="make it with `make test`") from error
        passed: dict[str, bool] = {}
        for case in root.iter("testcase"):
            name = _name(case.get("classname", ""), case.get("name", ""))
            bad = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
            passed[name] = passed.get(name, True) and not bad
        suite = next(root.iter("testsuite"), None)
        return cls(passed, suite.get("timestamp", "") if suite is not None else "")


def _name(classname: str, name: str) -> str:
    """`tests.alarms.test_x` (a class may follow) and `test_y[case]` as `tests/alarms/test_x.py::test_y`."""
    parts = classname.split(".")
    modules = [at for at, part in enumerate(parts) if part.startswith("test_")]
    end = modules[-1] + 1 if modules else len(parts)
    return f"{'/'.join(parts[:end])}.py::{name.partition('[')[0]}"
