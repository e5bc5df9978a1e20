"""Who may look: one-time sign-in links, sessions, and the checks of a request's Host and Origin.

A link's token lies as a digest in `home.run`, serves once and for twelve hours. It is exchanged for a cookie
that this process signs with a key of its own in `home.keys` (no store key); signing out is remembered in
`home.run`, so it holds over a restart. Neither file holds a name.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import re
import secrets
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer

from bedside.core.errors import SetupError
from bedside.core.time import US_PER_S, Clock, SystemClock
from bedside.dashboard.roles import Role
from bedside.settings import Home

TOKEN_S = 12 * 3600
"""A link serves this long: one long shift."""
SESSION_S = 7 * 24 * 3600
"""A session ends when nothing was asked with it for this long; a wall display renews its own."""
SIGNED_OUT_MAX = 4096
GLASS_S = 3600
DEFAULT_NAME = "bedside clinician"
NAME_CHARS_MAX = 60


def token_file(home: Home) -> Path:
    """Where the digest of the one valid sign-in token lies."""
    return home.run / "sign-in.json"


def address_file(home: Home) -> Path:
    """Where a running dashboard says under which address it listens."""
    return home.run / "dashboard.json"


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner may read. Raises `SetupError`."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise SetupError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="make sure that the data folder belongs to you and the disk has room",
        ) from error


def store_token(home: Home, token: str, clock: Clock | None = None, role: Role = Role.CLINICIAN) -> None:
    """Make `token` the one that the next sign-in may use; an older one stops to serve. Raises `SetupError`."""
    now_us = (clock or SystemClock()).now_us()
    digest = hashlib.sha256(token.encode()).hexdigest()
    write_private(
        token_file(home), json.dumps({"sha256": digest, "until_us": now_us + TOKEN_S * US_PER_S, "role": role})
    )


def new_link(
    home: Home,
    host: str,
    port: int,
    clock: Clock | None = None,
    role: Role = Role.CLINICIAN,
    *,
    tls: bool = False,
) -> str:
    """A fresh one-time sign-in link. Raises `SetupError` when the data folder cannot be written."""
    token = secrets.token_urlsafe(32)
    store_token(home, token, clock, role)
    return sign_in_link(host, port, token, tls=tls)


def sign_in_link(host: str, port: int, token: str, *, tls: bool = False) -> str:
    """The address to open for a token that `store_token` keeps."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"{'https' if tls else 'http'}://{shown}:{port}/sign-in?token={token}"


def clean_name(name: str | None) -> str:
    """A display name fit for a record: printable, single spaces, at most 60 characters; the default if empty."""
    words = " ".join("".join(c if c.isprintable() else " " for c in name or "").split())
    return words[:NAME_CHARS_MAX].strip() or DEFAULT_NAME


@dataclass(frozen=True, slots=True)
class Session:
    """Someone who signed in. `csrf` must come with everything that she changes."""

    id: str
    name: str
    csrf: str
    role: Role = Role.CLINICIAN
    account: bool = False  # signed in with a password or passkey, so that a lock can be opened again


class Access:
    """The door: exchanges tokens for sessions and knows whose cookie is whose. Safe for many threads."""

    def __init__(self, home: Home, *, clock: Clock | None = None) -> None:
        """Raises `SetupError` when the key file cannot be made or read."""
        self._home = home
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._lock = threading.Lock()
        self._key = self._load_key(home.keys / "dashboard-session.key")
        self._signer = URLSafeSerializer(
            self._key, salt="bedside-session", signer_kwargs={"digest_method": hashlib.sha256}
        )
        self._locked: dict[str, None] = {}
        self._glass: dict[str, int] = {}
        self._signed_out_file = home.run / "signed-out.json"
        self._signed_out: dict[str, int] = self._load_signed_out()

    def token_serves(self, token: str) -> bool:
        """Would this token sign someone in? It still serves afterwards."""
        try:
            kept = json.loads(token_file(self._home).read_text(encoding="utf-8"))
            digest, until_us = str(kept["sha256"]), int(kept["until_us"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        same = hmac.compare_digest(digest, hashlib.sha256(token.encode()).hexdigest())
        return same and self._clock.now_us() < until_us

    def exchange(self, token: str, name: str | None) -> Session | None:
        """A session for a token that serves; the token never serves again. None: it does not serve."""
        with self._lock:
            if not self.token_serves(token):
                return None
            role = self._token_role()
            token_file(self._home).unlink(missing_ok=True)
        return self._session(secrets.token_hex(16), clean_name(name), role)

    def open_for(self, name: str, role: Role) -> Session:
        """A session for somebody whose password or passkey was right."""
        return self._session(secrets.token_hex(16), clean_name(name), role, account=True)

    def _token_role(self) -> Role:
        try:
            kept = json.loads(token_file(self._home).read_text(encoding="utf-8"))
            return Role(str(kept.get("role", Role.CLINICIAN)))
        except (OSError, ValueError, AttributeError):
            return Role.PATIENT  # the least that there is

    # ------------------------------------------------------------------ lock, glass

    def lock(self, session: Session) -> None:
        """Until `unlock`, this session sees the ward's alarms and changes nothing."""
        with self._lock:
            self._locked[session.id] = None
            while len(self._locked) > SIGNED_OUT_MAX:
                self._locked.pop(next(iter(self._locked)))

    def unlock(self, session: Session) -> None:
        """Its owner has shown who she is."""
        with self._lock:
            self._locked.pop(session.id, None)

    def locked(self, session: Session) -> bool:
        """Is it locked?"""
        with self._lock:
            return session.id in self._locked

    def break_glass(self, session: Session) -> int:
        """Let a session look and answer for an hour; when that ends, in microseconds UTC."""
        until_us = self._clock.now_us() + GLASS_S * US_PER_S
        with self._lock:
            self._glass = {key: at for key, at in self._glass.items() if at > self._clock.now_us()}
            self._glass[session.id] = until_us
        return until_us

    def glass(self, session: Session) -> bool:
        """Has it broken the glass, less than an hour ago?"""
        with self._lock:
            return self._glass.get(session.id, 0) > self._clock.now_us()

    def cookie(self, session: Session) -> str:
        """The cookie's value; made anew at each page it moves the session's end."""
        return self._signer.dumps(
            [session.id, session.name, str(session.role), int(session.account), self._clock.now_us() // US_PER_S]
        )

    def session(self, cookie: str | None) -> Session | None:
        """Whose cookie this is; None when forged, too old or signed out."""
        if not cookie or len(cookie) > 1024:
            return None
        try:
            session_id, name, role, account, at_s = self._signer.loads(cookie)
            if self._signer.dumps([session_id, name, role, account, at_s]) != cookie:
                return None  # the last letter of base64 has spare bits: only the spelling that we made is taken
        except (BadData, ValueError, TypeError):
            return None
        age_s = self._clock.now_us() // US_PER_S - int(at_s)
        with self._lock:
            if age_s > SESSION_S or session_id in self._signed_out:
                return None
        return self._session(str(session_id), str(name), Role(role), account=bool(account))

    def sign_out(self, session: Session) -> None:
        """End a session everywhere, for good."""
        now_s = self._clock.now_us() // US_PER_S
        with self._lock:
            self._signed_out[session.id] = now_s
            kept = {key: at_s for key, at_s in self._signed_out.items() if now_s - at_s <= SESSION_S}
            self._signed_out = dict(sorted(kept.items(), key=lambda item: item[1])[-SIGNED_OUT_MAX:])
            write_private(self._signed_out_file, json.dumps(self._signed_out))

    def still_in(self, session: Session) -> bool:
        """Has this session not been signed out meanwhile?"""
        with self._lock:
            return session.id not in self._signed_out

    def _session(self, session_id: str, name: str, role: Role = Role.CLINICIAN, *, account: bool = False) -> Session:
        csrf = hmac.new(self._key, f"csrf {session_id}".encode(), hashlib.sha256).hexdigest()
        return Session(session_id, name, csrf, role, account)

    def _load_signed_out(self) -> dict[str, int]:
        try:
            kept = json.loads(self._signed_out_file.read_text(encoding="utf-8"))
            return {str(key): int(at_s) for key, at_s in kept.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise SetupError(
                f"{self._signed_out_file}: cannot be read: who signed out is not known",
                hint="remove this file and keys/dashboard-session.key; everyone then signs in anew",
            ) from error

    @staticmethod
    def _load_key(path: Path) -> bytes:
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            write_private(path, secrets.token_hex(32))
            key = path.read_bytes()
        except OSError as error:
            raise SetupError(
                f"{path}: {error.strerror or error}", hint="make the file readable for its owner"
            ) from error
        if re.fullmatch(rb"[0-9a-f]{64}", key) is None:
            raise SetupError(f"{path}: holds no session key", hint="remove the file; everyone then signs in anew")
        return key


class Names:
    """Under which names this process may be asked for.

    A page of a stranger that points its own domain at us (DNS rebinding) is refused by its name. An address
    in digits cannot be rebound, so any is taken.
    """

    def __init__(self, host: str, more: Iterable[str] = ()) -> None:
        own = socket.gethostname().lower()
        self._names = {"localhost", own, f"{own}.local", host.lower(), *(name.lower() for name in more)}

    def allow(self, host_header: str) -> bool:
        """Is this Host header one of ours?"""
        try:
            name = urlsplit(f"//{host_header}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def same_origin(origin: str | None, fetch_site: str | None, scheme: str, host_header: str) -> bool:
    """Does a request that changes something come from our own page? Programs send neither header."""
    if fetch_site not in (None, "same-origin", "none"):
        return False
    return origin is None or origin == f"{scheme}://{host_header}"
