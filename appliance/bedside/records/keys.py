"""The keys of the box, outside the database: one box key, and under it a random data key for each use.

    keys/box.key                          how the box key is protected, and the box key (sealed, or as it is)
    keys/data/OWNER/PURPOSE.ID.key        a data key, wrapped by the box key; OWNER is a patient's id or "box"

How the box key is protected is `boxkey`'s; `KeyRing.describe` says it. Without any protection it lies in a file that
only the box's user may read: that keeps a copied or stolen *database* closed, not a stolen box. Erasing a patient is
destroying her folder of data keys.

While the box key is changed, `box.key.next` holds the new one, sealed by the old: each data key opens with one of
the two, and whoever opens the folder next goes on.
No key goes into a log, an error or a `repr`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bedside.core.errors import SetupError, StoreError
from bedside.records.boxkey import (
    FORMAT_MAX,
    KEY_BYTES,
    Argon2Cost,
    ByFileMode,
    ByPassphrase,
    Protection,
    new_recovery,
    opened,
    recovered,
    with_recovery,
)
from bedside.records.files import sync_folder, write_atomically

log = logging.getLogger(__name__)

BOX = "box"
RECORDS_KEY = "records"
IDENTITY_KEY = "identity"
PASSPHRASE_FILE_VARIABLE = "BEDSIDE_PASSPHRASE_FILE"  # noqa: S105 (a name)
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
CREDENTIAL_NAME = "bedside-passphrase"
BOX_FILE = "box.key"
NEXT_FILE = "box.key.next"  # while the box key is changed
LASTING_PURPOSES = (
    "log head",
    "deleted entries",
    "erasure certificates",
    "log witness",
    "retention",
)  # whose seals outlive a box key
_FORMAT = 1
_NONCE_BYTES = 12
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,31}")
_NO_PASSPHRASE_HINT = (
    f"put it into a file and set {PASSPHRASE_FILE_VARIABLE} to its name, or use systemd's "
    f"LoadCredentialEncrypted={CREDENTIAL_NAME}"
)
_LOST_HINT = "put back the folder `keys` from where you keep it safe; without it the records cannot be read"


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key for one owner and one purpose."""

    id: str
    owner: str
    purpose: str
    raw: bytes = field(repr=False)


def passphrase_from(argument: str | None = None) -> str | None:
    """The passphrase: the argument, else `BEDSIDE_PASSPHRASE_FILE`, else systemd's credential; None: no source.

    Raises `SetupError` when a source is named and cannot be read, or is empty.
    """
    if argument is not None:
        return _not_empty(argument, "the passphrase that was given")
    named = os.environ.get(PASSPHRASE_FILE_VARIABLE)
    if named:
        return _read_passphrase(Path(named), f"{PASSPHRASE_FILE_VARIABLE}={named}")
    folder = os.environ.get(CREDENTIALS_VARIABLE)
    if folder and (Path(folder) / CREDENTIAL_NAME).exists():
        return _read_passphrase(Path(folder) / CREDENTIAL_NAME, f"systemd credential {CREDENTIAL_NAME}")
    return None


def _read_passphrase(path: Path, source: str) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SetupError(f"{source}: cannot be read: {reason}", hint="put the passphrase there, one line") from error
    return _not_empty(text.removesuffix("\n").removesuffix("\r"), source)


def _not_empty(passphrase: str, source: str) -> str:
    if not passphrase:
        raise SetupError(f"{source} is empty", hint="give a passphrase of some words, or none at all")
    return passphrase


class KeyRing:
    """The box key and what it wraps. Open it with `KeyRing.open`."""

    def __init__(self, folder: Path, content: dict[str, Any], box_key: bytes, protection: Protection) -> None:
        self.folder = folder
        self.box_id: str = content["id"]
        self._recovery: dict[str, Any] | None = content.get("recovery")
        self._protection = protection
        self._box_key = box_key
        self._wraps = [_wrap(box_key)]  # the newest first; more than one only while the box key is changed
        self._known: dict[tuple[str, str], list[DataKey]] = {}

    def __repr__(self) -> str:
        return f"KeyRing({str(self.folder)!r}, protected={self.protected})"

    @property
    def protected(self) -> bool:
        """Whether the key file alone gives nothing."""
        return self._protection.closed

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        passphrase: str | None,
        may_create: Callable[[], bool] = lambda: True,
        may_protect: bool = True,
        cost: Argon2Cost | None = None,
        codes: Sequence[str] = (),
    ) -> KeyRing:
        """The box's keys; the box key is made on first use, unless `may_create()` says that records exist already.

        A passphrase given to a box that had none protects it from now on, and a change of the box key that
        was cut short is ended (`may_protect`: a reader may neither). `codes`: recovery codes, in the place of
        whatever protects the key. Raises `SetupError`: wrong or missing passphrase, lost or damaged key file.
        """
        path = folder / BOX_FILE
        if not path.exists():
            if not may_create() or any((folder / "data").glob("*/*.key")):
                raise SetupError(f"{path} is missing, but there are records made with it", hint=_LOST_HINT)
            made: Protection = ByFileMode(str(path)) if passphrase is None else ByPassphrase.of(passphrase, cost)
            ring = cls(folder, {"id": os.urandom(16).hex()}, os.urandom(KEY_BYTES), made)
            ring._save_box_key()
            return ring
        content = _box_file(path)
        box_key, protection = _opened(path, content, passphrase, codes)
        ring = cls(folder, content, box_key, protection)
        ring._go_on_with_rotation(may_write=may_protect)
        if passphrase is not None and not ring.protected and may_protect and not codes:
            ring.change_passphrase(passphrase, cost)
            log.warning("box key is protected by a passphrase from now on", extra={"file": str(path)})
        return ring

    def change_passphrase(self, passphrase: str | None, cost: Argon2Cost | None = None) -> None:
        """Protect the box key by another passphrase, or by none. Durable on return."""
        self.protect(
            ByFileMode(str(self.folder / BOX_FILE)) if passphrase is None else ByPassphrase.of(passphrase, cost)
        )

    def protect(self, protection: Protection) -> None:
        """Protect the box key in another way. Durable on return; recovery codes stay good."""
        before, self._protection = self._protection, protection
        try:
            self._save_box_key()
        except BaseException:
            self._protection = before
            raise

    def new_recovery_codes(self, threshold: int, shares: int) -> list[str]:
        """Codes of which any `threshold` open the box without its protection; older codes no longer do.

        They exist nowhere else: print them. Raises `ValueError` for numbers that make no sense.
        """
        codes, self._recovery = new_recovery(threshold, shares)
        self._save_box_key()
        return codes

    @property
    def recoverable(self) -> bool:
        """Whether there are recovery codes."""
        return self._recovery is not None

    def describe(self) -> str:
        """One honest sentence on who can read the records."""
        if self._recovery is None:
            return self._protection.describe()
        of = f"{self._recovery['threshold']} of {self._recovery['shares']}"
        return f"{self._protection.describe()}; {of} recovery codes open it, too"

    def rotate(self) -> None:
        """A new box key; every data key is wrapped anew. Records are written and read meanwhile as before.

        It may be cut short at any point: the next opening goes on with it. Raises `StoreError` (disk full):
        everything opens as before, and the next opening, or `rotate`, goes on.
        """
        if (self.folder / NEXT_FILE).exists():
            self._go_on_with_rotation(may_write=True)
        fresh = os.urandom(KEY_BYTES)
        content = with_recovery(self._protection.seal(self.box_id, fresh), self._recovery, fresh)
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + AESGCM(_next_key(self._box_key)).encrypt(nonce, fresh, json.dumps(content).encode())
        write_atomically(
            self.folder / NEXT_FILE, json.dumps({"v": 1, "content": content, "sealed": sealed.hex()}).encode()
        )
        self._rotate_to(fresh, content)

    def _go_on_with_rotation(self, *, may_write: bool) -> None:
        path = self.folder / NEXT_FILE
        if not path.exists():
            return
        try:
            held = json.loads(path.read_bytes())
            content, sealed = dict(held["content"]), bytes.fromhex(held["sealed"])
            if content == _box_file(self.folder / BOX_FILE):
                if may_write:  # it was ended, but for this file
                    path.unlink(missing_ok=True)
                return
            fresh = AESGCM(_next_key(self._box_key)).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], json.dumps(content).encode()
            )
        except (OSError, ValueError, KeyError, TypeError, InvalidTag) as error:
            raise SetupError(f"{path} is damaged, or of another box", hint=_LOST_HINT) from error
        if may_write:
            self._rotate_to(fresh, content)
        else:
            self._wraps.insert(0, _wrap(fresh))

    def _rotate_to(self, fresh: bytes, content: dict[str, Any]) -> None:
        if len(self._wraps) == 1:
            self._wraps.insert(0, _wrap(fresh))
        for purpose in LASTING_PURPOSES:  # what the old key has sealed for good can still be checked
            past = self.derive(purpose)
            if past not in {key.raw for key in self._load(BOX, _past(purpose))}:
                self._add(DataKey(os.urandom(16).hex(), BOX, _past(purpose), past))
        for path in sorted((self.folder / "data").glob("*/*.key")):
            self._wrap_anew(path)
        write_atomically(self.folder / BOX_FILE, json.dumps(content, indent=1).encode() + b"\n")
        self._box_key, self._recovery = fresh, content.get("recovery")
        self._wraps = self._wraps[:1]
        _forget(self.folder / NEXT_FILE)

    def _wrap_anew(self, path: Path) -> None:
        owner, purpose = path.parent.name, path.name.split(".")[0]
        try:
            generation, key = self._read(path, owner, purpose)
        except StoreError as error:  # it was lost before
            log.error("data key stays as it is", extra={"reason": str(error)})
            return
        self._save(key, generation)

    def destroy(self, owner: str) -> list[str]:
        """Destroy all data keys of a patient: their ids. What they sealed can never be read again.

        Files are overwritten before they are removed; what a flash disk keeps of them is wrapped by the box key.
        Raises `StoreError`.
        """
        if not _OWNER.fullmatch(owner) or owner == BOX:
            raise StoreError("no patient's id")
        ids: list[str] = []
        folder = self.folder / "data" / owner
        try:
            for path in sorted(folder.glob("*")) if folder.is_dir() else []:
                if path.suffix == ".key":
                    ids.append(path.name.split(".")[1])
                _forget(path)
            if folder.is_dir():
                folder.rmdir()
                sync_folder(folder.parent)
        except OSError as error:
            raise StoreError(f"cannot destroy the keys in {folder}: {error.strerror or error}") from error
        self._known = {known: keys for known, keys in self._known.items() if known[0] != owner}
        return ids

    def ids_of(self, owner: str) -> list[str]:
        """The ids of a patient's data keys."""
        return sorted(path.name.split(".")[1] for path in (self.folder / "data" / owner).glob("*.key"))

    def _save_box_key(self) -> None:
        content = with_recovery(self._protection.seal(self.box_id, self._box_key), self._recovery, self._box_key)
        write_atomically(self.folder / BOX_FILE, json.dumps(content, indent=1).encode() + b"\n")

    def data_key(self, owner: str, purpose: str) -> DataKey:
        """The newest key of `owner` (a patient's id, or `BOX`) for `purpose`, made on first use and durable on return.

        Raises `StoreError` when a key file cannot be written. A damaged one counts as lost (`find` will say so).
        """
        keys = self._load(owner, purpose)
        if keys:
            return keys[-1]
        key = DataKey(os.urandom(16).hex(), owner, purpose, os.urandom(KEY_BYTES))
        self._add(key)
        return key

    def find(self, owner: str, purpose: str, key_id: str) -> DataKey:
        """One key by its id. Raises `StoreError` when it is not there: lost, or destroyed on purpose."""
        for key in self._load(owner, purpose):
            if key.id == key_id:
                return key
        raise StoreError(f"data key {key_id} is not in {self.folder / 'data'}: lost, or destroyed to erase records")

    def derive(self, purpose: str) -> bytes:
        """32 bytes that only this box key gives, for a use of the box itself (such as its log's seal)."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"bedside derive v1 " + purpose.encode()).derive(self._box_key)

    def derive_all(self, purpose: str) -> list[bytes]:
        """`derive` now, and what it gave before the box key was changed (for `LASTING_PURPOSES`)."""
        return [self.derive(purpose), *(key.raw for key in reversed(self._load(BOX, _past(purpose))))]

    def derive_first(self, purpose: str) -> bytes:
        """What `derive` gave first: for keys by which others know this box, so that they stay."""
        return self.derive_all(purpose)[-1]

    def _load(self, owner: str, purpose: str) -> list[DataKey]:
        if not _OWNER.fullmatch(owner) or not _PURPOSE.fullmatch(purpose):
            raise StoreError("an id holds other than letters, digits, - and _, or is too long")
        if (owner, purpose) not in self._known:
            paths = sorted((self.folder / "data" / owner).glob(f"{purpose}.*.key"))
            read: list[tuple[int, DataKey]] = []
            for path in paths:
                try:
                    read.append(self._read(path, owner, purpose))
                except StoreError as error:  # what it sealed is lost; a new key lets this patient's records go on
                    log.error("data key lost", extra={"reason": str(error)})
            self._known[owner, purpose] = [key for _, key in sorted(read, key=lambda pair: pair[0])]
        return self._known[owner, purpose]

    def _add(self, key: DataKey) -> None:
        known = self._load(key.owner, key.purpose)
        self._save(key, len(known))
        known.append(key)

    def _save(self, key: DataKey, generation: int) -> None:
        nonce = os.urandom(_NONCE_BYTES)
        wrapped = nonce + self._wraps[0].encrypt(
            nonce, key.raw, _key_binding(key.owner, key.purpose, key.id, generation)
        )
        content = {"v": _FORMAT, "id": key.id, "generation": generation, "box": self.box_id, "wrapped": wrapped.hex()}
        path = self.folder / "data" / key.owner / f"{key.purpose}.{key.id}.key"
        write_atomically(path, json.dumps(content).encode())

    def _read(self, path: Path, owner: str, purpose: str) -> tuple[int, DataKey]:
        try:
            content = json.loads(path.read_bytes())
            key_id, generation = str(content["id"]), int(content["generation"])
            wrapped = bytes.fromhex(content["wrapped"])
            binding = _key_binding(owner, purpose, key_id, generation)
            raw = self._unwrapped(wrapped, binding)
        except (OSError, ValueError, KeyError, TypeError, InvalidTag) as error:
            raise StoreError(f"data key file {path} is damaged, or of another box") from error
        return generation, DataKey(key_id, owner, purpose, raw)

    def _unwrapped(self, wrapped: bytes, binding: bytes) -> bytes:
        for wrap in self._wraps[:-1]:
            with contextlib.suppress(InvalidTag):
                return wrap.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], binding)
        return self._wraps[-1].decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], binding)


def _wrap(box_key: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt=None, info=b"bedside wrap data key v1").derive(box_key))


def _next_key(box_key: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"bedside next box key v1").derive(box_key)


def _past(purpose: str) -> str:
    return f"past-{purpose.replace(' ', '-')}"


def _forget(path: Path) -> None:
    """Overwrite a small file and remove it. Raises `OSError`."""
    with path.open("r+b") as held:
        held.write(bytes(path.stat().st_size))
        held.flush()
        os.fsync(held.fileno())
    path.unlink()
    sync_folder(path.parent)


def _key_binding(owner: str, purpose: str, key_id: str, generation: int) -> bytes:
    return json.dumps(["bedside data key", _FORMAT, owner, purpose, key_id, generation]).encode()


def _box_file(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_mode & 0o077:
            raise SetupError(f"{path} can be read by other users", hint=f"chmod 600 {path}")
        content = json.loads(path.read_bytes())
        version = int(content["v"])
        if version > FORMAT_MAX:
            raise SetupError(f"{path} has format {version}, this Bedside knows {FORMAT_MAX}", hint="update Bedside")
        content["id"] = str(content["id"])
        if content["protection"] == "passphrase":
            bytes.fromhex(content["sealed"])
        elif content["protection"] == "tpm":
            dict(content["tpm"])
        elif len(bytes.fromhex(content["key"])) != KEY_BYTES:
            raise ValueError("length of the key")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} cannot be read: {type(error).__name__}", hint=_LOST_HINT) from error
    return dict(content)


def _opened(
    path: Path, content: dict[str, Any], passphrase: str | None, codes: Sequence[str]
) -> tuple[bytes, Protection]:
    try:
        if codes:
            return recovered(content, codes), ByFileMode(str(path))
        key, protection = opened(content, str(path), passphrase, _NO_PASSPHRASE_HINT)
        return key, protection
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} is damaged: {type(error).__name__}", hint=_LOST_HINT) from error
