"""The evidence folder: a claim holds while its tests pass, a broken test opens it, and the folder shows tampering."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
import yaml
from click.testing import CliRunner

from bedside.compliance.architecture import drawing, read_architecture
from bedside.compliance.build import Built, build, verify
from bedside.compliance.claims import State
from bedside.compliance.cli import compliance
from bedside.compliance.parts import bill_of_materials, normal, read_parts
from bedside.compliance.privacy import missing, read_map
from bedside.compliance.results import Results
from bedside.compliance.trace import make_trace
from bedside.core.errors import SetupError

pytestmark = pytest.mark.requirement("CMP-002")

ROOT = Path(__file__).parents[2]
DOCUMENTS = 20


def all_passed() -> dict[str, bool]:
    return {test: True for tests in make_trace(ROOT).tests.values() for test in tests}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built]:
    out = tmp_path_factory.mktemp("evidence") / "out"
    results = Results(all_passed(), "2026-01-01T00:00:00")
    return out, build(ROOT, out, results=results, version="0.1.0", when="today", key=out.parent / "key")


def test_with_all_tests_passed_nothing_that_is_promised_is_open(built: tuple[Path, Built]) -> None:
    _, made = built
    assert [f"{claim.id}: {claim.why}" for claim in made.broken] == []
    stated = [claim for claim in made.claims if claim.state is State.OPEN]
    assert {claim.section for claim in stated} == {"threats"}  # gaps that are stated as gaps
    assert len([claim for claim in made.claims if claim.section == "documents"]) == DOCUMENTS
    assert made.counts()[State.EVIDENCED] > 100


@pytest.mark.parametrize("fault", [False, None])
def test_one_broken_or_missing_test_opens_its_requirement_its_controls_and_the_build(
    tmp_path: Path, fault: bool | None
) -> None:
    passed = all_passed()
    tests = make_trace(ROOT).tests["ALM-014"]
    for test in tests:
        del passed[test]
        if fault is not None:
            passed[test] = fault
    made = build(ROOT, tmp_path / "out", results=Results(passed), version="0", when="", key=tmp_path / "key")
    assert {claim.id for claim in made.broken} >= {"ALM-014", "HAZ-002.4"}
    assert all(set(claim.tests) & set(tests) for claim in made.broken)


def test_the_folder_is_whole_and_every_kind_of_tampering_shows(built: tuple[Path, Built], tmp_path: Path) -> None:
    assert len(verify(built[0])) == 64
    for fault in ("altered", "missing", "added", "manifest", "signature"):
        copy = tmp_path / fault
        shutil.copytree(built[0], copy)
        match fault:
            case "altered":
                (copy / "claims.json").write_text("[]")
            case "missing":
                (copy / "risk.html").unlink()
            case "added":
                (copy / "clearance.html").write_text("cleared")
            case "manifest":
                text = (copy / "manifest.json").read_text()
                (copy / "manifest.json").write_text(text.replace("0.1.0", "9.9.9"))
            case _:
                (copy / "manifest.sig").write_text("{}")
        with pytest.raises(SetupError):
            verify(copy)


def test_pages_link_tests_and_show_how_claims_stand(built: tuple[Path, Built]) -> None:
    page = (built[0] / "index.html").read_text()
    assert "tests/alarms/" in page
    assert 's-evidenced">evidenced' in page
    assert "not been reviewed by any authority" in page
    assert (built[0] / "evidence.pdf").read_bytes().startswith(b"%PDF")
    assert "HAZ-001" in (built[0] / "risk.html").read_text()


def test_a_folder_with_something_else_in_it_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(SetupError, match="not empty"):
        build(ROOT, tmp_path, results=None, version="0", when="", key=tmp_path / "key")
    assert (tmp_path / "letters.txt").exists()


def test_the_command_fails_when_no_test_has_run(tmp_path: Path) -> None:
    arguments = ["build", "--root", str(ROOT), "--out", str(tmp_path / "out"), "--key", str(tmp_path / "key")]
    result = CliRunner().invoke(compliance, arguments)
    assert result.exit_code == 1
    assert "no results of a test run were given" in result.output
    assert CliRunner().invoke(compliance, ["verify", str(tmp_path / "out")]).exit_code == 0


def test_results_are_read_by_test_and_all_their_cases(tmp_path: Path) -> None:
    cases = [
        ("tests.a.test_x", "test_one[1]", ""), ("tests.a.test_x", "test_one[2]", "<failure/>"),
        ("tests.a.test_x", "test_two", ""), ("tests.a.test_x.TestIt", "test_three", ""),
        ("tests.a.test_x", "test_four", "<skipped/>"),
    ]  # fmt: skip
    body = "".join(
        f"<testcase classname={quoteattr(c)} name={quoteattr(n)}>{inner}</testcase>" for c, n, inner in cases
    )
    file = tmp_path / "results.xml"
    file.write_text(f'<testsuites><testsuite timestamp="now">{body}</testsuite></testsuites>')
    found = Results.read(file)
    assert found.when == "now"
    assert found.passed == {
        "tests/a/test_x.py::test_one": False, "tests/a/test_x.py::test_two": True,
        "tests/a/test_x.py::test_three": True, "tests/a/test_x.py::test_four": False,
    }  # fmt: skip
    for bad in ("", "<a", '<!DOCTYPE x [<!ENTITY a "b">]><x/>'):
        file.write_text(bad)
        with pytest.raises(SetupError, match="no results"):
            Results.read(file)


def test_the_data_map_names_every_table_and_event_and_a_new_one_would_show() -> None:
    data_map = read_map(ROOT)
    assert missing(data_map) == []
    fewer = json.loads(json.dumps(data_map))
    del fewer["databases"]["records"]["tables"]["entry"]
    del fewer["events"]["alarm"]
    fewer["events"]["thought"] = {}
    assert missing(fewer) == [
        "table records.entry is not in the data map", "event alarm is not in the data map",
        "event thought of the data map does not exist",
    ]  # fmt: skip


def test_every_direct_part_has_a_reason_and_stands_in_the_bill() -> None:
    parts = read_parts(ROOT)
    assert [part.name for part in parts if part.direct and not part.why] == []
    stated = {normal(name) for name in yaml.safe_load((ROOT / "compliance/soup.yaml").read_text())}
    assert stated == {part.name for part in parts if part.direct}
    bill = json.loads(bill_of_materials(parts, "0.1.0"))
    assert bill["bomFormat"] == "CycloneDX"
    names = {one["name"] for one in bill["components"]}
    assert {"cryptography", "bleak", "numpy", "scipy", "flask", "sqlite-utils"} <= names


def test_no_room_imports_against_the_layers_and_one_that_did_would_show() -> None:
    found = read_architecture(ROOT)
    assert found.upward == []
    assert ("gateway", "ward") in found.imports
    found.imports["signal", "core"] = 1  # the signal room stands above core, and its own contract forbids it
    found.imports["core", "ward"] = 1
    assert ("core", "ward") in found.upward
    assert drawing(found).count("<rect") == len(found.rooms)
