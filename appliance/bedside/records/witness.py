"""Heads of the log that leave the box, so that not even who administers it can rewrite history unseen.

A head says how many entries the log had and their root, when, signed by the box. A witness keeps all heads of a box:
a folder on another machine (a share), or another machine's `bedside records witness`. The first key it sees of a box
is that box's for good, and it refuses what contradicts what it has: fewer entries than before, or another root for the
same number. `verify` compares the store with the witness.

Heads stay on the site: an exact number of entries would tell the operator how many patients there are.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bedside.core.errors import LinkError, SetupError, StoreError
from bedside.records.files import SECRET_MODE, sync_folder
from bedside.records.keys import KeyRing

PURPOSE = "log witness"
HEADS_BYTES_MAX = 512 * 1024 * 1024  # some two years of a head a minute
_PATIENCE_S = 5.0
_TAIL_BYTES = 8192
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class SignedHead:
    """The log of one box had `size` entries with this root at `time_us` (µs UTC)."""

    box: str
    size: int
    root: str
    time_us: int
    public_key: str
    signature: str = ""

    def _signed_bytes(self) -> bytes:
        content = {name: value for name, value in asdict(self).items() if name != "signature"}
        return b"bedside log head for a witness v1" + json.dumps(content, sort_keys=True).encode()

    def check(self) -> None:
        """Raises `StoreError` when it was not signed by the key it names."""
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public_key))
            public.verify(bytes.fromhex(self.signature), self._signed_bytes())
        except (ValueError, InvalidSignature) as error:
            raise StoreError("a head of the log is not signed by the box it names") from error

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


class HeadWitness(Protocol):
    """Keeps heads of boxes, away from them. Methods block for at most some seconds."""

    def keep(self, head: SignedHead) -> None:
        """Durable on return. Raises `LinkError` (not there now), `StoreError` (it contradicts what is kept)."""
        ...

    def heads(self, box: str) -> list[SignedHead]:
        """All of a box, oldest first. Raises `LinkError`."""
        ...


def signed_head(keys: KeyRing, size: int, root: bytes, time_us: int) -> SignedHead:
    """A head, signed with a key that only this box key gives."""
    private = Ed25519PrivateKey.from_private_bytes(keys.derive_first(PURPOSE))
    bare = SignedHead(keys.box_id, size, root.hex(), time_us, private.public_key().public_bytes_raw().hex())
    return SignedHead(**{**asdict(bare), "signature": private.sign(bare._signed_bytes()).hex()})


def head_from(text: str | bytes) -> SignedHead:
    """From its JSON, signature checked. Raises `StoreError`."""
    try:
        content = json.loads(text)
        head = SignedHead(**content)
        hexes = (head.box, head.root, head.public_key, head.signature)
        if not all(isinstance(one, str) and one and set(one) <= _HEX for one in hexes):
            raise ValueError("hexadecimal")
        if len(head.box) > 64 or not all(type(one) is int and one >= 0 for one in (head.size, head.time_us)):
            raise ValueError("numbers")
    except (ValueError, TypeError) as error:
        raise StoreError("a head of the log cannot be read") from error
    head.check()
    return head


def contradiction(kept: SignedHead, head: SignedHead) -> str | None:
    """Why `head` cannot follow `kept` in one honest log; None: it can."""
    if head.public_key != kept.public_key:
        return "the head is signed by another key than this box's first one"
    if head.size < kept.size:
        return f"the log had {kept.size} entries, now it is said to have {head.size}: it was rolled back"
    if head.size == kept.size and head.root != kept.root:
        return f"two different logs of {head.size} entries are shown: one was rewritten"
    return None


class FolderWitness:
    """A folder on another machine: a file of lines for each box, only ever added to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, head: SignedHead) -> None:
        """As `HeadWitness.keep`. The same head again is no change."""
        head.check()
        path = self._path(head.box)
        try:
            if not self.folder.is_dir():
                raise LinkError(f"the witness folder {self.folder} is not there")
            handle = os.open(path, os.O_RDWR | os.O_CREAT, SECRET_MODE)
            try:
                size, last = _end_of(handle)
                kept = head_from(last) if last else None
                refused = contradiction(kept, head) if kept is not None else None
                if refused is not None:
                    raise StoreError(refused)
                if kept is not None and kept.size == head.size:
                    return
                os.ftruncate(handle, size)  # what a power cut left of a line that was never called kept
                os.pwrite(handle, f"{head.to_json()}\n".encode(), size)
                os.fsync(handle)
            finally:
                os.close(handle)
            sync_folder(self.folder)
        except OSError as error:
            raise LinkError(f"the witness folder {self.folder} cannot be written: {error.strerror or error}") from error

    def heads(self, box: str) -> list[SignedHead]:
        """As `HeadWitness.heads`."""
        return self._read(self._path(box))

    def _path(self, box: str) -> Path:
        if not box or not set(box) <= _HEX:
            raise StoreError("no id of a box")
        return self.folder / f"{box}.heads"

    def _read(self, path: Path) -> list[SignedHead]:
        try:
            if not self.folder.is_dir():
                raise LinkError(f"the witness folder {self.folder} is not there")
            lines = path.read_bytes().splitlines() if path.exists() else []
        except OSError as error:
            raise LinkError(f"the witness folder {self.folder} cannot be read: {error.strerror or error}") from error
        if lines and not lines[-1].endswith(b"}"):
            lines.pop()  # torn before it was called kept
        return [head_from(line) for line in lines]


def _end_of(handle: int) -> tuple[int, bytes]:
    """Where the last whole line ends, and that line."""
    size = os.fstat(handle).st_size
    tail = os.pread(handle, min(size, _TAIL_BYTES), max(0, size - _TAIL_BYTES))
    whole = tail[: tail.rfind(b"\n") + 1]
    return size - len(tail) + len(whole), whole.rstrip(b"\n").rpartition(b"\n")[2]


class HttpWitness:
    """Another machine's `bedside records witness`."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise SetupError(f"witness {url!r} is no address", hint="write http://HOST:PORT, or a folder")
        self.url = url.rstrip("/")

    def keep(self, head: SignedHead) -> None:
        """As `HeadWitness.keep`."""
        self._ask(f"{self.url}/heads", head.to_json().encode())

    def heads(self, box: str) -> list[SignedHead]:
        """As `HeadWitness.heads`."""
        return [head_from(line) for line in self._ask(f"{self.url}/heads/{box}", None).splitlines() if line]

    def _ask(self, url: str, data: bytes | None) -> bytes:
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 (checked above)
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:  # noqa: S310
                return bytes(answer.read(HEADS_BYTES_MAX))
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(500).decode("utf-8", "replace")
            if error.code == 409:
                raise StoreError(said) from error
            raise LinkError(f"the witness {self.url} answers {error.code}") from error
        except OSError as error:
            raise LinkError(f"the witness {self.url} is not reached") from error


def witness_at(place: str) -> HeadWitness:
    """A folder's path, or an address. Raises `SetupError`."""
    if "://" in place:
        return HttpWitness(place)
    return FolderWitness(Path(place))


def own_heads(heads: Sequence[SignedHead], keys: KeyRing) -> tuple[list[SignedHead], list[SignedHead]]:
    """Those that this box signed, now or before its key was changed, and those that somebody else did in its name."""
    trusted = {
        Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()
        for seed in keys.derive_all(PURPOSE)
    }
    ours = [one for one in heads if one.public_key in trusted]
    return ours, [one for one in heads if one.public_key not in trusted]
