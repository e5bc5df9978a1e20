"""A model file is what the manifest says or it is refused; what it answers is the same bytes everywhere."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bedside.core.errors import SetupError
from bedside.models import checking, inference, shipped
from bedside.models.inference import Manifest, Model
from bedside.models.outputs import fixed_windows, outputs_digest

pytestmark = pytest.mark.requirement("MOD-001", "MOD-003")

SHIPPED = shipped.path("beats")
CONTENT = SHIPPED.read_bytes()
MODEL = Model.load(SHIPPED)
MANIFEST = Manifest.load(SHIPPED.parent / "manifest.json")
ENTRY = next(entry for entry in MANIFEST.entries if entry.name == "beats")
RUNTIMES = [name for name in inference.RUNTIMES if importlib.util.find_spec(name) is not None]


def placed(folder: Path, content: bytes) -> Path:
    """`content` as a model file beside the real manifest."""
    for name in ("manifest.json", "manifest.sig"):
        (folder / name).write_bytes((SHIPPED.parent / name).read_bytes())
    (folder / "beats.tflite").write_bytes(content)
    return folder / "beats.tflite"


@pytest.mark.parametrize("name", checking.NAMES)
def test_every_committed_model_has_the_digest_of_its_bytes_and_is_small(name: str) -> None:
    content = shipped.path(name).read_bytes()
    assert Model.load(shipped.path(name)).digest == hashlib.sha256(content).hexdigest()
    assert len(content) < 100_000


def test_the_manifest_lists_the_models_that_bedside_runs_and_no_others() -> None:
    assert sorted(entry.name for entry in MANIFEST.entries) == sorted(checking.NAMES)


@pytest.mark.parametrize("name", checking.NAMES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_outputs_over_10_000_fixed_windows_are_the_committed_ones(
    name: str, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "RUNTIMES", (runtime,))
    assert outputs_digest(Model.load(shipped.path(name))) == promised(name).outputs_sha256


@pytest.mark.parametrize("name", checking.NAMES)
@pytest.mark.parametrize("threads", [2, 4])
def test_more_threads_give_the_same_bytes(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = fixed_windows(promised(name).n_inputs, 1000)
    alone = Model.load(shipped.path(name)).run(rows)
    monkeypatch.setattr(inference, "_runtime", with_threads(threads))
    np.testing.assert_array_equal(Model.load(shipped.path(name)).run(rows), alone)


def test_each_kind_of_machine_has_its_own_promise_and_an_unknown_one_has_none() -> None:
    entry = Manifest.parse(
        b'{"models": {"m": {"sha256": "a", "size_bytes": 1, "n_inputs": 1, "n_outputs": 1, "outputs_sha256": "x",'
        b' "outputs_sha256_on": {"aarch64": "y"}}}}',
        Path("manifest.json"),
    ).entries[0]
    assert [entry.outputs_on(machine) for machine in ("x86_64", "aarch64", "riscv64")] == ["x", "y", None]


@pytest.mark.long
@pytest.mark.parametrize("name", checking.NAMES)
@pytest.mark.parametrize("threads", [2, 4])
def test_more_threads_give_the_same_bytes_over_all_fixed_windows(
    name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "_runtime", with_threads(threads))
    assert outputs_digest(Model.load(shipped.path(name))) == promised(name).outputs_sha256


def promised(name: str) -> inference.Entry:
    return next(entry for entry in MANIFEST.entries if entry.name == name)


def with_threads(n: int) -> Callable[[], tuple[object, str]]:
    """The runtime, whose interpreters have `n` threads whatever they are asked for."""
    module, label = inference._runtime()

    class Threads:
        OpResolverType = module.OpResolverType

        @staticmethod
        def Interpreter(**options: object) -> object:
            return module.Interpreter(**{**options, "num_threads": n})

    return lambda: (Threads, label)


def test_the_digest_of_the_outputs_notices_one_step_in_one_output() -> None:
    class OneStepOff(Model):
        def run(self, batch: inference.Int8s) -> inference.Int8s:
            outputs = super().run(batch)
            outputs[7, 0] += 1
            return outputs

    other = OneStepOff.load(SHIPPED)
    assert outputs_digest(other) != outputs_digest(MODEL)


def test_an_output_does_not_depend_on_what_stands_beside_it_in_the_batch() -> None:
    rows = fixed_windows(MODEL.n_inputs, 101)
    alone = np.concatenate([MODEL.run(row[np.newaxis]) for row in rows])
    np.testing.assert_array_equal(MODEL.run(rows), alone)
    assert np.unique(alone).size > 10  # not one constant answer
    assert MODEL.run(rows[:0]).shape == (0, 2)


def test_the_fixed_windows_are_those_of_the_stated_rule() -> None:
    x, values = 1, []
    for _ in range(12):
        x = (1664525 * x + 1013904223) % 2**32
        values.append((x >> 16) % 255 - 127)
    assert fixed_windows(6, 2).ravel().tolist() == values
    assert values[:4] == [69, 103, 24, -87]


def test_probabilities_follow_the_curves_of_the_manifest(tmp_path: Path) -> None:
    manifest = json.loads((SHIPPED.parent / "manifest.json").read_text())
    manifest["models"]["beats"]["calibration"] = [[2.0, -1.0], [1.0, 0.0]]
    path = placed(tmp_path, CONTENT)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    calibration = Model.load(path, Manifest.unsigned(tmp_path / "manifest.json")).calibration
    assert calibration.probability(0, 0.5) == 0.5
    assert calibration.probability(1, 0.0) == 0.5
    assert inference.Calibration().probability(0, 1e9) < 1 <= inference.Calibration().probability(0, 1e9) + 1e-9


def test_the_runtime_names_its_version_and_kernels() -> None:
    name, version, kernels = MODEL.runtime.split()
    assert name in {"tflite-runtime", "ai-edge-litert"}
    assert version[0].isdigit()
    assert kernels == "builtin"


@pytest.mark.parametrize(
    "rows",
    [np.zeros((2, 3), np.int8), np.zeros(MODEL.n_inputs, np.int8), np.zeros((2, MODEL.n_inputs), np.float32)],
    ids=["too few columns", "one dimension", "floats"],
)
def test_rows_of_another_shape_or_type_are_refused(rows: inference.Int8s) -> None:
    with pytest.raises(ValueError, match="expected int8"):
        MODEL.run(rows)


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file") as caught:
        Model.load(placed(tmp_path, b"").with_name("other.tflite"))
    assert caught.value.hint


@pytest.mark.parametrize("size", [0, 3, 8, 100, len(CONTENT) - 1])
def test_a_cut_model_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(SetupError):
        Model.load(placed(tmp_path, CONTENT[:size]))


def test_a_model_that_grew_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="not in the manifest"):
        Model.load(placed(tmp_path, CONTENT + b"\0"))
    with pytest.raises(SetupError, match="at most"):
        Model.load(placed(tmp_path, CONTENT + bytes(1 << 20)))


def test_every_flipped_bit_is_refused_before_the_interpreter_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("damaged bytes reached the interpreter")

    monkeypatch.setattr(inference, "_interpreter", never)
    path = placed(tmp_path, CONTENT)
    chance = random.Random(1)
    for _ in range(300):
        damaged = bytearray(CONTENT)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(SetupError):
            Model.load(path)
    path.write_bytes(CONTENT)
    with pytest.raises(AssertionError, match="reached"):  # the whole file does get there
        Model.load(path)


def test_without_the_manifest_a_damaged_file_can_kill_the_process() -> None:
    """Why the digest comes first: the same damage, given to the interpreter, is not always an exception."""
    script = """
import sys
from pathlib import Path
from bedside.core.errors import SetupError
from bedside.models.inference import Entry, Model
content = bytearray(Path(sys.argv[1]).read_bytes())
content[:4] = b"\\xff\\xff\\xff\\x7f"  # the root table lies far outside the file
try:
    Model(Entry("beats", "", len(content), int(sys.argv[2]), 2), bytes(content))
except SetupError:
    sys.exit(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(SHIPPED), str(MODEL.n_inputs)], capture_output=True, check=False
    )
    assert done.returncode != 0


@pytest.mark.parametrize("change", [{"n_inputs": 7}, {"n_outputs": 5}])
def test_a_listed_model_of_another_shape_than_promised_is_refused(change: dict[str, int]) -> None:
    promised = replace(ENTRY, **change)  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="runtime cannot take it"):
        Model.load(SHIPPED, Manifest((promised,)))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"models": {"beats": {}}}', '{"models": {"beats": 3}}', "\x00"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = placed(tmp_path, CONTENT)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(SetupError, match="signature is of other bytes"):
        Model.load(path)
    with pytest.raises(SetupError, match="damaged"):
        Manifest.unsigned(tmp_path / "manifest.json")


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "beats.tflite").write_bytes(CONTENT)
    with pytest.raises(SetupError, match="manifest"):
        Model.load(tmp_path / "beats.tflite")


def test_no_runtime_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "RUNTIMES", ("no_such_runtime",))
    with pytest.raises(SetupError, match="no runtime") as caught:
        Model.load(SHIPPED)
    assert "ai-edge-litert" in caught.value.hint
