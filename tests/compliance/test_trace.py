"""The requirement trace: complete for this tree, and seen to fail where something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bedside.compliance.trace import as_csv, make_trace, marks_in, trace
from bedside.core.errors import SetupError

pytestmark = pytest.mark.requirement("CMP-001")

ROOT = Path(__file__).parents[2]


def tree(folder: Path, requirements: str, tests: str) -> Path:
    (folder / "compliance").mkdir()
    (folder / "tests").mkdir()
    (folder / "compliance" / "requirements.yaml").write_text(requirements)
    (folder / "tests" / "test_it.py").write_text(tests)
    return folder


ONE = "requirements:\n  - {id: A-1, text: It beats., source: own}\n"


def test_every_requirement_of_bedside_is_proven_by_a_test() -> None:
    found = make_trace(ROOT)
    assert found.unproven == []
    assert found.unknown == []
    assert len(found.requirements) >= 40


def test_a_requirement_that_loses_its_test_shows_as_open(tmp_path: Path) -> None:
    root = tree(tmp_path, ONE, "def test_nothing(): ...\n")
    assert make_trace(root).unproven == ["A-1"]
    result = CliRunner().invoke(trace, ["--root", str(root)])
    assert result.exit_code == 1
    assert "open" in result.output
    assert "OPEN" in as_csv(make_trace(root))


def test_a_mark_that_no_requirement_has_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path, ONE, "@pytest.mark.requirement('A-1', 'B-9')\ndef test_it(): ...\n")
    assert make_trace(root).unknown == ["B-9"]
    assert CliRunner().invoke(trace, ["--root", str(root)]).exit_code == 1


def test_marks_of_function_and_module_are_read() -> None:
    mark = "pytest.mark.requirement"
    source = f"pytestmark = {mark}('M')\ndef test_a(): ...\n@{mark}('F')\ndef test_b(): ...\n"
    assert list(marks_in(source, "t.py")) == [("M", "t.py::test_a"), ("F", "t.py::test_b")]


@pytest.mark.parametrize("content", ["requirements: 5\n", "requirements:\n  - {id: A}\n", "a: [\n", ONE + ONE[14:]])
def test_requirements_that_cannot_be_read_are_a_setup_error(tmp_path: Path, content: str) -> None:
    root = tree(tmp_path, content, "")
    with pytest.raises(SetupError, match=r"requirements\.yaml"):
        make_trace(root)
