"""The box key sealed to this machine's TPM 2.0 and the state it booted into, by Debian's `tpm2-tools`.

The key goes in and comes out through pipes: no secret touches a disk. The TPM gives it back only while the chosen PCRs
(firmware, its options, boot loader, secure boot) are as they were: an altered boot gets nothing, and neither does a
disk in another machine. Sources: TCG TPM 2.0 Library; TCG PC Client Platform Firmware Profile (PCR 0, 2, 4, 7).
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from bedside.core.errors import SetupError

PCRS = "sha256:0,2,4,7"
_DEVICE = Path("/dev/tpmrm0")
TCTI_VARIABLE = "TPM2TOOLS_TCTI"  # as tpm2-tools reads it
_PATIENCE_S = 60.0
_CHANGED_HINT = (
    "if the machine or its firmware was changed on purpose: `bedside records recover` with the recovery codes, "
    "then seal again with `bedside records protect --tpm`"
)


def available() -> bool:
    """Whether there is a TPM and the tools to ask it."""
    return shutil.which("tpm2") is not None and (_DEVICE.exists() or bool(os.environ.get(TCTI_VARIABLE)))


def seal(secret: bytes, pcrs: str = PCRS) -> dict[str, str]:
    """What gives `secret` back on this TPM in this boot state. Raises `SetupError`."""
    with _Folder() as folder:
        _primary(folder)
        _tpm("createpolicy", "--policy-pcr", "-l", pcrs, "-L", "pcr.policy", folder=folder)
        _tpm(
            "create", "-C", "primary.ctx", "-g", "sha256", "-u", "public", "-r", "private", "-L", "pcr.policy",
            "-a", "fixedtpm|fixedparent", "-i", "-", folder=folder, given=secret,
        )  # fmt: skip
        parts = {name: base64.b64encode((folder / name).read_bytes()).decode() for name in ("public", "private")}
    return {"pcrs": pcrs, **parts}


def unseal(sealed: dict[str, str]) -> bytes:
    """The secret. Raises `SetupError`: another TPM, another boot state, none at all."""
    with _Folder() as folder:
        for name in ("public", "private"):
            (folder / name).write_bytes(base64.b64decode(sealed[name]))
        _primary(folder)
        _tpm("load", "-C", "primary.ctx", "-u", "public", "-r", "private", "-c", "object.ctx", folder=folder)
        return _tpm("unseal", "-c", "object.ctx", "-p", f"pcr:{sealed['pcrs']}", folder=folder)


class _Folder:
    """Contexts and public parts only; removed at the end."""

    def __enter__(self) -> Path:
        self._held = tempfile.TemporaryDirectory(prefix="bedside-tpm-")
        return Path(self._held.name)

    def __exit__(self, *_: object) -> None:
        self._held.cleanup()


def _primary(folder: Path) -> None:
    _tpm("createprimary", "-C", "o", "-g", "sha256", "-G", "ecc", "-c", "primary.ctx", folder=folder)


def _tpm(command: str, *words: str, folder: Path, given: bytes = b"") -> bytes:
    if not available():
        raise SetupError("no TPM 2.0, or no `tpm2` to ask it", hint="apt-get install tpm2-tools; " + _CHANGED_HINT)
    quiet = () if command == "unseal" else ("-Q",)
    try:
        done = subprocess.run(
            ["tpm2", command, *words, *quiet], cwd=folder, input=given, capture_output=True, timeout=_PATIENCE_S,
            check=False,
        )  # fmt: skip
        # without a resource manager objects stay in the TPM's few places until they are told to go
        subprocess.run(
            ["tpm2", "flushcontext", "-t"], cwd=folder, capture_output=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"the TPM does not answer ({command})", hint=_CHANGED_HINT) from error
    if done.returncode:
        raise SetupError(
            f"the TPM refuses ({command}): it is another one, or the boot state is not what the key was sealed to",
            hint=_CHANGED_HINT,
        )
    return done.stdout
