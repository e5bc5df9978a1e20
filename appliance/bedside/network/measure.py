"""What the box runs, measured for its statements: the runtime's library file and Bedside's version.

The models' digests come from whoever loaded them, since only the bytes as loaded count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import Final

from bedside.attestation.statement import HASH_BYTES, NAME_CHARS_MAX, Measured

RUNTIMES: Final = ("tflite-runtime", "ai-edge-litert")


def measure(models: Mapping[str, str], *, kernels: str = "builtin") -> Measured:
    """`models`: name -> SHA-256 as hex of the bytes as loaded; empty when no model could be loaded."""
    runtime, digest = runtime_digest()
    return Measured(
        models={name[:NAME_CHARS_MAX]: bytes.fromhex(value) for name, value in models.items()},
        runtime=runtime,
        runtime_digest=digest,
        kernels=kernels,
        version=_version("bedside")[:NAME_CHARS_MAX],
    )


def runtime_digest() -> tuple[str, bytes]:
    """Name with version of the installed inference runtime, and the SHA-256 over its shared libraries, by name."""
    for name in RUNTIMES:
        try:
            found = files(name)
        except PackageNotFoundError:
            continue
        libraries = sorted((str(item), Path(str(item.locate()))) for item in found or () if ".so" in item.suffixes)
        total = hashlib.sha256()
        for relative, path in libraries:
            total.update(relative.encode() + b"\x00" + hashlib.sha256(path.read_bytes()).digest())
        return f"{name} {_version(name)}"[:NAME_CHARS_MAX], total.digest()
    return "none", bytes(HASH_BYTES)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
