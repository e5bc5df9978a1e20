"""The patient's own page needs no account: a code that staff show her opens it, for her alone, on her own device.

A code serves once, within 15 minutes, and lies in this process's memory as a digest. The cookie that it is exchanged
for holds the patient's surrogate id, signed with a key of its own: it opens her page and nothing else. Staff can end
all her pages at once; that is remembered over restarts.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections import OrderedDict
from pathlib import Path

from itsdangerous import BadData, URLSafeSerializer

from bedside.core.errors import SetupError
from bedside.core.time import US_PER_S, Clock, SystemClock
from bedside.dashboard.access import write_private
from bedside.settings import Home

CODE_S = 15 * 60
PAGE_S = 90 * 24 * 3600
"""A page ends when it was not opened for so long."""
CODES_MAX = 64


class PatientDoor:
    """Codes and cookies of patients' pages. Safe for many threads."""

    def __init__(self, home: Home, *, clock: Clock | None = None) -> None:
        """Raises `SetupError` when the key file cannot be made or read."""
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._lock = threading.Lock()
        self._codes: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._ended_file = home.run / "my-pages-ended.json"
        self._ended: dict[str, int] = self._load_ended()
        self._signer = URLSafeSerializer(
            _key(home.keys / "patient-page.key"), salt="my page", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def new_code(self, patient: str) -> str:
        """A code that opens this patient's page once."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._codes[_digest(code)] = (patient, self._clock.now_us() + CODE_S * US_PER_S)
            while len(self._codes) > CODES_MAX:
                self._codes.popitem(last=False)
        return code

    def serves(self, code: str) -> bool:
        """Would this code open a page? It still serves afterwards."""
        with self._lock:
            return self._patient(code) is not None

    def exchange(self, code: str) -> str | None:
        """The patient whose page the code opens; it never serves again. None: it does not serve."""
        with self._lock:
            patient = self._patient(code)
            self._codes.pop(_digest(code), None)
        return patient

    def _patient(self, code: str) -> str | None:
        patient, until_us = self._codes.get(_digest(code), ("", 0))
        return patient if patient and self._clock.now_us() < until_us else None

    def cookie(self, patient: str) -> str:
        return self._signer.dumps([patient, self._clock.now_us() // US_PER_S])

    def patient(self, cookie: str | None) -> str | None:
        """Whose page this cookie opens; None when forged, too old or ended."""
        if not cookie or len(cookie) > 512:
            return None
        try:
            patient, at_s = self._signer.loads(cookie)
            again = self._signer.dumps([patient, at_s])
        except (BadData, ValueError, TypeError):
            return None
        if not hmac.compare_digest(again.encode(), cookie.encode()):
            return None
        age_s = self._clock.now_us() // US_PER_S - int(at_s)
        with self._lock:
            ended_s = self._ended.get(str(patient), -1)
        return str(patient) if age_s <= PAGE_S and int(at_s) > ended_s else None

    def end_all(self, patient: str) -> None:
        """Every page and code of this patient stops to serve."""
        with self._lock:
            self._ended[patient] = self._clock.now_us() // US_PER_S
            for digest in [digest for digest, (whose, _) in self._codes.items() if whose == patient]:
                del self._codes[digest]
            write_private(self._ended_file, json.dumps(self._ended))

    def _load_ended(self) -> dict[str, int]:
        try:
            kept = json.loads(self._ended_file.read_text(encoding="utf-8"))
            return {str(patient): int(at_s) for patient, at_s in kept.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise SetupError(
                f"{self._ended_file}: cannot be read: which patients' pages were ended is not known",
                hint="remove this file and keys/patient-page.key; patients then open their pages anew",
            ) from error


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _key(path: Path) -> bytes:
    try:
        if not path.exists():
            write_private(path, secrets.token_hex(32))
        key = path.read_bytes()
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror or error}", hint="make the file readable for its owner") from error
    if len(key) != 64:
        raise SetupError(f"{path}: holds no key", hint="remove the file; patients then open their pages anew")
    return key
