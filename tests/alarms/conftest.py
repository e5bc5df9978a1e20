"""Lets the tests of this folder import their helper module however pytest was started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The assessor's table: which of the twenty checks passed, and what was measured."""
    measured: dict[int, list[str]] = {}
    failed: set[int] = set()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", []):
                if name == "assessor":
                    measured.setdefault(value[0], []).append(value[1])
            number = _number(report.nodeid)
            if number is not None:
                measured.setdefault(number, [])
                failed |= {number} if outcome != "passed" else set()
    if len(measured) < 2:
        return
    terminalreporter.section("The assessor's twenty checks")
    for number, words in sorted(measured.items()):
        told = "; ".join(dict.fromkeys(words))
        terminalreporter.write_line(f"{number:2d} {'FAILED' if number in failed else 'passed'}  {told}")
    terminalreporter.write_line(f"{len(set(measured) - failed)} of 20")


def _number(nodeid: str) -> int | None:
    _, mark, rest = nodeid.partition("::test_check_")
    return int(rest[:2]) if mark and rest[:2].isdigit() else None
