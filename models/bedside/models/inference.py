"""Running a committed int8 network: one module over tflite-runtime and ai-edge-litert, with the same bytes.

Both are held to their *built-in* kernels, one thread: with the XNNPACK delegate, which each would take by
default, one output in six is a step off. The bytes of a model are known before the interpreter sees them:
the interpreter is C++ that trusts its file, so a file whose SHA-256 no signed `manifest.json` names never gets there.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import math
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from bedside.core.errors import SetupError
from bedside.models import signing

Int8s: TypeAlias = npt.NDArray[np.int8]

RUNTIMES: Final = ("tflite_runtime", "ai_edge_litert")
KERNELS: Final = "builtin"
MADE_ON: Final = "x86_64"
MODEL_BYTES_MAX: Final = 1 << 20
MANIFEST_BYTES_MAX: Final = 1 << 16
_MAGIC: Final = b"TFL3"  # file identifier of the TensorFlow Lite flatbuffer, bytes 4 to 8
LOGIT_MAX: Final = 30.0
_BATCH: Final = 32  # rows that one call of the interpreter takes when there are so many
_HINT: Final = "reinstall Bedside, or put back the models folder of this version"


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often a logit was right: slope and offset of a logistic curve for each output, from the manifest."""

    curves: tuple[tuple[float, float], ...] = ()

    def probability(self, output: int, logit: float) -> float:
        """Of `output` being positive; the logit's own where the manifest has no curve."""
        slope, offset = self.curves[output] if output < len(self.curves) else (1.0, 0.0)
        return 1 / (1 + math.exp(-min(max(slope * logit + offset, -LOGIT_MAX), LOGIT_MAX)))


@dataclass(frozen=True, slots=True)
class Entry:
    """What the manifest promises of one model file."""

    name: str
    sha256: str
    size_bytes: int
    n_inputs: int
    n_outputs: int
    calibration: Calibration = Calibration()
    outputs_sha256: str = ""  # of the outputs over `outputs.fixed_windows`, on MADE_ON
    elsewhere: tuple[tuple[str, str], ...] = ()  # the same on other machines, where they round otherwise

    def outputs_on(self, machine: str) -> str | None:
        """What the digest of the outputs must be on `machine` (as `platform.machine` names it); None: not known.

        The built-in kernels of x86-64 and of 64-bit ARM round some halves otherwise: a few outputs in ten thousand
        are one step apart.
        """
        return self.outputs_sha256 or None if machine == MADE_ON else dict(self.elsewhere).get(machine)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The models that may be run, by the digest of their bytes. `signer`: the key (hex) that vouches for it."""

    entries: tuple[Entry, ...]
    signer: str | None = None

    @classmethod
    def load(cls, path: Path, more_keys: Callable[[], Collection[str]] | None = None) -> Self:
        """Read a signed manifest. `more_keys`: signers beside the release keys; by default those of the settings.

        Raises `SetupError` when a file is missing, it is no manifest, or nobody who is believed signed it.
        """
        content = _content(path)
        signer = signing.checked(content, path, more_keys)
        return cls(cls.parse(content, path).entries, signer)

    @classmethod
    def unsigned(cls, path: Path) -> Self:
        """For training and tests alone: what `path` says, whoever wrote it. Raises `SetupError`."""
        return cls.parse(_content(path), path)

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Self:
        """What the bytes of the manifest `path` say, whoever wrote them. Raises `SetupError`."""
        try:
            models = json.loads(content)["models"]
            entries = tuple(
                Entry(
                    name=str(name),
                    sha256=str(facts["sha256"]),
                    size_bytes=int(facts["size_bytes"]),
                    n_inputs=int(facts["n_inputs"]),
                    n_outputs=int(facts["n_outputs"]),
                    calibration=Calibration(tuple((float(a), float(b)) for a, b in facts.get("calibration", ()))),
                    outputs_sha256=str(facts.get("outputs_sha256", "")),
                    elsewhere=tuple((str(on), str(one)) for on, one in facts.get("outputs_sha256_on", {}).items()),
                )
                for name, facts in models.items()
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SetupError(f"model manifest {path}: damaged ({type(error).__name__})", hint=_HINT) from error
        return cls(entries)

    def entry(self, digest: str) -> Entry | None:
        """The model with these bytes, or None."""
        return next((entry for entry in self.entries if entry.sha256 == digest), None)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        raise SetupError(f"model manifest {path}: {error.strerror or error}", hint=_HINT) from error
    if len(content) > MANIFEST_BYTES_MAX:
        raise SetupError(f"model manifest {path}: more than {MANIFEST_BYTES_MAX} bytes", hint=_HINT)
    return content


class Model:
    """A loaded network: int8 rows in, int8 rows out. Safe to call from several threads, one at a time."""

    def __init__(self, entry: Entry, content: bytes) -> None:
        """Use `load`. Raises `SetupError` when `content` is not what `entry` promises."""
        module, self.runtime = _runtime()
        self.digest: str = entry.sha256
        self.name: str = entry.name
        self.n_inputs: int = entry.n_inputs
        self.n_outputs: int = entry.n_outputs
        self.calibration = entry.calibration
        self.observer: Callable[[bytes, bytes, bytes], None] | None = None
        """Told of each inference: digest, input row and output row as bytes. Must return at once."""
        self._lock = threading.Lock()
        try:
            single = _interpreter(module, content, 1, entry.n_inputs)
            self.scale, self.zero_point = _checked_details(single, entry)
            self._single = _Runner(single)
            self._batch = _Runner(_interpreter(module, content, _BATCH, entry.n_inputs))
        except (RuntimeError, ValueError) as error:
            raise SetupError(f"model {entry.name}: the runtime cannot take it ({error})", hint=_HINT) from error

    @classmethod
    def load(cls, path: Path, manifest: Manifest | None = None) -> Self:
        """Read a model. `manifest`: by default the signed `manifest.json` beside the file.

        Raises `SetupError` when the file is missing, damaged, cut, of another shape, not in the manifest or there
        under another name, when nobody who is believed signed the manifest, and when no runtime is installed.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
            if size > MODEL_BYTES_MAX:
                raise SetupError(f"model {path}: {size} bytes, at most {MODEL_BYTES_MAX} are taken", hint=_HINT)
            content = path.read_bytes()
        except OSError as error:
            raise SetupError(f"model {path}: {error.strerror or error}", hint=_HINT) from error
        if content[4:8] != _MAGIC:
            raise SetupError(f"model {path}: no TensorFlow Lite model ({len(content)} bytes)", hint=_HINT)
        digest = hashlib.sha256(content).hexdigest()
        entry = (manifest or Manifest.load(path.parent / "manifest.json")).entry(digest)
        if entry is None or entry.size_bytes != len(content):
            raise SetupError(
                f"model {path}: SHA-256 {digest[:16]}… is not in the manifest, so it is damaged or not ours", hint=_HINT
            )
        if entry.name != path.stem:
            raise SetupError(f"model {path}: this is the model {entry.name}, so files were swapped", hint=_HINT)
        return cls(entry, content)

    def run(self, batch: Int8s) -> Int8s:
        """Outputs, int8, shape (n, n_outputs), for int8 rows of shape (n, n_inputs), n >= 0.

        Each row's output is the same whatever stands beside it. Raises `ValueError` for another shape or dtype
        and `RuntimeError` when the runtime fails.
        """
        if batch.dtype != np.int8 or batch.ndim != 2 or batch.shape[1] != self.n_inputs:
            raise ValueError(f"batch: expected int8 (n, {self.n_inputs}), got {batch.dtype} {batch.shape}")
        batch = np.ascontiguousarray(batch)
        outputs = np.empty((batch.shape[0], self.n_outputs), dtype=np.int8)
        with self._lock:
            whole = batch.shape[0] - batch.shape[0] % _BATCH
            for start in range(0, whole, _BATCH):
                outputs[start : start + _BATCH] = self._batch(batch[start : start + _BATCH])
            for row in range(whole, batch.shape[0]):
                outputs[row] = self._single(batch[row : row + 1])[0]
        if self.observer is not None:
            digest = bytes.fromhex(self.digest)
            for taken, given in zip(batch, outputs, strict=True):
                self.observer(digest, taken.tobytes(), given.tobytes())
        return outputs

    def logits(self, batch: Int8s) -> npt.NDArray[np.float64]:
        """`run`, as real numbers: `(output - zero_point) * scale`, float64, shape (n, n_outputs)."""
        return (self.run(batch).astype(np.float64) - self.zero_point) * self.scale


def _runtime() -> tuple[Any, str]:
    """The installed runtime's interpreter module and its name, version and kernels."""
    for package in RUNTIMES:
        try:
            module = importlib.import_module(f"{package}.interpreter")
        except ImportError:
            continue
        version = importlib.metadata.version(package.replace("_", "-"))
        return module, f"{package.replace('_', '-')} {version} {KERNELS}"
    raise SetupError(
        "no runtime for models is installed",
        hint="install tflite-runtime (Python 3.11) or ai-edge-litert (3.12 and later): `pip install bedside` does",
    )


def _interpreter(module: Any, content: bytes, n_rows: int, n_inputs: int) -> Any:
    interpreter = module.Interpreter(
        model_content=content,
        num_threads=1,
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    (details,) = interpreter.get_input_details()
    if list(details["shape"]) != [1, n_inputs]:
        raise ValueError(f"input of shape {list(details['shape'])}, expected [1, {n_inputs}]")
    interpreter.resize_tensor_input(details["index"], [n_rows, n_inputs])
    interpreter.allocate_tensors()
    return interpreter


def _checked_details(interpreter: Any, entry: Entry) -> tuple[float, int]:
    """Output scale and zero point. Raises `ValueError` when a tensor is not what the manifest promises."""
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    if taken["dtype"] is not np.int8 or given["dtype"] is not np.int8:
        raise ValueError("tensors that are not int8")
    if list(given["shape"]) != [1, entry.n_outputs]:
        raise ValueError(f"output of shape {list(given['shape'])}, expected [1, {entry.n_outputs}]")
    scale, zero_point = given["quantization"]
    return float(scale), int(zero_point)


class _Runner:
    """An interpreter for one number of rows, asked for its tensors' names once: that costs as much as an inference."""

    def __init__(self, interpreter: Any) -> None:
        self._set, self._invoke, self._get = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor
        self._input = interpreter.get_input_details()[0]["index"]
        self._output = interpreter.get_output_details()[0]["index"]

    def __call__(self, rows: Int8s) -> Int8s:
        self._set(self._input, rows)
        self._invoke()
        outputs: Int8s = self._get(self._output)
        return outputs
