"""The keys of the box, outside the database: one box key, and under it a random data key for each use.

    keys/box.key                          how the box key is protected, and the box key (sealed, or as it is)
    keys/data/OWNER/PURPOSE.ID.key        a data key, wrapped by the box key; OWNER is a patient's id or "box"

With a passphrase the box key is sealed by AES-256-GCM under Argon2id (RFC 9106) of it. Without one it
lies in a file that only the box's user may read: that keeps a copied or stolen *database* closed, not a
stolen box; `KeyRing.describe` says which. Erasing a patient is deleting her folder of data keys.
No key goes into a log, an error or a `repr`.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bedside.core.errors import SetupError, StoreError
from bedside.records.files import write_atomically

log = logging.getLogger(__name__)

BOX = "box"
RECORDS_KEY = "records"
IDENTITY_KEY = "identity"
KEY_BYTES = 32
PASSPHRASE_FILE_VARIABLE = "BEDSIDE_PASSPHRASE_FILE"  # noqa: S105 (a name)
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
CREDENTIAL_NAME = "bedside-passphrase"
_FORMAT = 1
_NONCE_BYTES = 12
_MEMORY_KIB_MAX = 4 * 1024 * 1024
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,31}")
_LOST_HINT = "put back the folder `keys` from where you keep it safe; without it the records cannot be read"


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What a guess of the passphrase costs. The default is RFC 9106's second recommended option (64 MiB)."""

    iterations: int = 3
    lanes: int = 4
    memory_kib: int = 65536


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

    def __init__(self, folder: Path, box_id: str, box_key: bytes, protected: bool) -> None:
        self.folder = folder
        self.box_id = box_id
        self.protected = protected
        self._box_key = box_key
        self._wrap = AESGCM(HKDF(SHA256(), KEY_BYTES, salt=None, info=b"bedside wrap data key v1").derive(box_key))
        self._known: dict[tuple[str, str], list[DataKey]] = {}

    def __repr__(self) -> str:
        return f"KeyRing({str(self.folder)!r}, protected={self.protected})"

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        passphrase: str | None,
        may_create: Callable[[], bool] = lambda: True,
        may_protect: bool = True,
        cost: Argon2Cost | None = None,
    ) -> KeyRing:
        """The box's keys; the box key is made on first use, unless `may_create()` says that records exist already.

        A passphrase given to a box that had none protects it from now on (`may_protect`: a reader may not).
        Raises `SetupError`: wrong or missing passphrase, lost or damaged key file.
        """
        path = folder / "box.key"
        if not path.exists():
            if not may_create() or any((folder / "data").glob("*/*.key")):
                raise SetupError(f"{path} is missing, but there are records made with it", hint=_LOST_HINT)
            box_id, box_key = os.urandom(16).hex(), os.urandom(KEY_BYTES)
            _write_box_key(path, box_id, box_key, passphrase, cost)
            return cls(folder, box_id, box_key, passphrase is not None)
        content = _box_file(path)
        if content["protection"] == "passphrase":
            box_key = _opened(path, content, passphrase)
            return cls(folder, content["id"], box_key, True)
        protect = passphrase is not None and may_protect
        if protect:
            _write_box_key(path, content["id"], bytes.fromhex(content["key"]), passphrase, cost)
            log.warning("box key is protected by a passphrase from now on", extra={"file": str(path)})
        return cls(folder, content["id"], bytes.fromhex(content["key"]), protect)

    def change_passphrase(self, passphrase: str | None, cost: Argon2Cost | None = None) -> None:
        """Protect the box key by another passphrase, or by none. Durable on return."""
        _write_box_key(self.folder / "box.key", self.box_id, self._box_key, passphrase, cost)
        self.protected = passphrase is not None

    def describe(self) -> str:
        """One honest sentence on who can read the records."""
        if self.protected:
            return "records are encrypted; the key is sealed by a passphrase (Argon2id)"
        return (
            f"records are encrypted; the key lies in {self.folder / 'box.key'}, readable by this user alone: "
            "whoever steals the disk with that file can read them. Set a passphrase to prevent it"
        )

    def data_key(self, owner: str, purpose: str) -> DataKey:
        """The newest key of `owner` (a patient's id, or `BOX`) for `purpose`, made on first use and durable on return.

        Raises `StoreError` when a key file cannot be written. A damaged one counts as lost (`find` will say so).
        """
        keys = self._load(owner, purpose)
        if keys:
            return keys[-1]
        key = DataKey(os.urandom(16).hex(), owner, purpose, os.urandom(KEY_BYTES))
        self._save(key)
        keys.append(key)
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

    def _save(self, key: DataKey) -> None:
        generation = len(self._known[key.owner, key.purpose])
        nonce = os.urandom(_NONCE_BYTES)
        wrapped = nonce + self._wrap.encrypt(nonce, key.raw, _key_binding(key.owner, key.purpose, key.id, generation))
        content = {"v": _FORMAT, "id": key.id, "generation": generation, "box": self.box_id, "wrapped": wrapped.hex()}
        path = self.folder / "data" / key.owner / f"{key.purpose}.{key.id}.key"
        write_atomically(path, json.dumps(content).encode())

    def _read(self, path: Path, owner: str, purpose: str) -> tuple[int, DataKey]:
        try:
            content = json.loads(path.read_bytes())
            key_id, generation = str(content["id"]), int(content["generation"])
            wrapped = bytes.fromhex(content["wrapped"])
            binding = _key_binding(owner, purpose, key_id, generation)
            raw = self._wrap.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], binding)
        except (OSError, ValueError, KeyError, TypeError, InvalidTag) as error:
            raise StoreError(f"data key file {path} is damaged, or of another box") from error
        return generation, DataKey(key_id, owner, purpose, raw)


def _key_binding(owner: str, purpose: str, key_id: str, generation: int) -> bytes:
    return json.dumps(["bedside data key", _FORMAT, owner, purpose, key_id, generation]).encode()


def _box_binding(content: dict[str, Any]) -> bytes:
    bound = {name: content[name] for name in ("v", "id", "protection", "kdf")}
    return json.dumps(bound, sort_keys=True).encode()


def _write_box_key(path: Path, box_id: str, box_key: bytes, passphrase: str | None, cost: Argon2Cost | None) -> None:
    content: dict[str, Any] = {"v": _FORMAT, "id": box_id}
    if passphrase is None:
        content |= {"protection": "file mode only", "key": box_key.hex()}
    else:
        kdf = {"name": "argon2id", "salt": os.urandom(16).hex(), **asdict(cost or Argon2Cost())}
        content |= {"protection": "passphrase", "kdf": kdf}
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(_stretched(passphrase, kdf)).encrypt(nonce, box_key, _box_binding(content))
        content["sealed"] = (nonce + sealed).hex()
    write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")


def _stretched(passphrase: str, kdf: dict[str, Any]) -> bytes:
    if not 8 <= int(kdf["memory_kib"]) <= _MEMORY_KIB_MAX or kdf["name"] != "argon2id":
        raise ValueError("parameters of the key derivation")
    return Argon2id(
        salt=bytes.fromhex(kdf["salt"]),
        length=KEY_BYTES,
        iterations=int(kdf["iterations"]),
        lanes=int(kdf["lanes"]),
        memory_cost=int(kdf["memory_kib"]),
    ).derive(passphrase.encode())


def _box_file(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_mode & 0o077:
            raise SetupError(f"{path} can be read by other users", hint=f"chmod 600 {path}")
        content = json.loads(path.read_bytes())
        version = int(content["v"])
        if version > _FORMAT:
            raise SetupError(f"{path} has format {version}, this Bedside knows {_FORMAT}", hint="update Bedside")
        content["id"] = str(content["id"])
        if content["protection"] == "passphrase":
            bytes.fromhex(content["sealed"])
            return dict(content)
        if len(bytes.fromhex(content["key"])) != KEY_BYTES:
            raise ValueError("length of the key")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} cannot be read: {type(error).__name__}", hint=_LOST_HINT) from error
    return dict(content)


def _opened(path: Path, content: dict[str, Any], passphrase: str | None) -> bytes:
    if passphrase is None:
        raise SetupError(
            f"{path} is protected by a passphrase, and none was given",
            hint=f"put it into a file and set {PASSPHRASE_FILE_VARIABLE} to its name, or use systemd's "
            f"LoadCredentialEncrypted={CREDENTIAL_NAME}",
        )
    try:
        stretched = _stretched(passphrase, content["kdf"])
        sealed = bytes.fromhex(content["sealed"])
        return AESGCM(stretched).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _box_binding(content))
    except InvalidTag as error:
        raise SetupError(
            f"the passphrase does not open {path}: it is wrong, or the file was altered",
            hint="try the passphrase again, with its spaces and capitals; nothing was changed",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} is damaged: {type(error).__name__}", hint=_LOST_HINT) from error
