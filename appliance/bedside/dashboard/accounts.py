"""Accounts: who may sign in with a password, and in which role. Kept in `home.keys/accounts.json` (0600).

Passwords are kept as Argon2id (RFC 9106, second recommendation: 64 MiB, three passes) alone. A wrong one costs the
asker time that doubles, by name and by address, so guessing does not pay; a name that is not there takes as long as
one that is. No account is needed on the box itself: `bedside sign-in` prints a link.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from bedside.core.errors import SetupError
from bedside.dashboard.access import NAME_CHARS_MAX, clean_name, write_private
from bedside.dashboard.roles import Role
from bedside.settings import Home

PASSWORD_CHARS = (12, 200)
ITERATIONS, LANES, MEMORY_KIB = 3, 4, 64 * 1024
FREE_TRIES = 4
WAIT_S_MAX = 900.0
THROTTLED_MAX = 4096
ACCOUNTS_MAX = 500


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with a password. `phc`: its Argon2id string."""

    name: str
    role: Role
    phc: str


class Accounts:
    """The accounts of a box. Safe for many threads; every question reads the file anew, so a removal holds at once."""

    def __init__(self, home: Home) -> None:
        self._path = home.keys / "accounts.json"
        self._lock = threading.Lock()  # one password at a time: each takes 64 MiB
        self._nobody = hashed("a password that nobody has, asked where there is no account")

    def all(self) -> list[Account]:
        """By name. Raises `SetupError` for a file that cannot be read: nobody signs in by it then."""
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))
            return [Account(str(row["name"]), Role(row["role"]), str(row["phc"])) for row in rows]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(
                f"{self._path}: cannot be read", hint="restore it from a backup, or remove it and add the accounts anew"
            ) from error

    def add(self, name: str, role: Role, password: str) -> Account:
        """A new account, or another role and password for one that is there. Raises `SetupError`."""
        if clean_name(name) != name or len(name) > NAME_CHARS_MAX:
            raise SetupError(
                "the name must be 1 to 60 printable characters", hint="no spaces at its ends, no line breaks"
            )
        if not PASSWORD_CHARS[0] <= len(password) <= PASSWORD_CHARS[1]:
            raise SetupError(
                f"the password must have {PASSWORD_CHARS[0]} to {PASSWORD_CHARS[1]} characters",
                hint="four words that do not belong together are good",
            )
        made = Account(name, role, hashed(password))
        kept = [one for one in self.all() if one.name.casefold() != name.casefold()]
        if len(kept) >= ACCOUNTS_MAX:
            raise SetupError(f"there are {ACCOUNTS_MAX} accounts already", hint="remove those that nobody uses")
        self._write([*kept, made])
        return made

    def remove(self, name: str) -> None:
        """Raises `SetupError` where there is no such account."""
        before = self.all()
        kept = [one for one in before if one.name.casefold() != name.casefold()]
        if len(kept) == len(before):
            raise SetupError(f"there is no account {name!r:.60}", hint="`bedside accounts list` names them")
        self._write(kept)

    def check(self, name: str, password: str) -> Account | None:
        """Whose password this is; None when it is not hers, or there is no such account."""
        with self._lock:
            try:
                known = next((one for one in self.all() if one.name.casefold() == name.strip().casefold()), None)
            except SetupError:
                known = None
            right = _fits(known.phc if known is not None else self._nobody, password[: PASSWORD_CHARS[1]])
        return known if right else None

    def role_of(self, name: str) -> Role | None:
        """The role of an account now; None when it is gone."""
        try:
            return next((one.role for one in self.all() if one.name == name), None)
        except SetupError:
            return None

    def _write(self, accounts: list[Account]) -> None:
        rows = [asdict(one) | {"role": str(one.role)} for one in sorted(accounts, key=lambda one: one.name)]
        write_private(self._path, json.dumps(rows, indent=1))


def hashed(password: str) -> str:
    """The Argon2id string of a password, with a salt of its own."""
    made = Argon2id(salt=os.urandom(16), length=32, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB)
    return made.derive_phc_encoded(password.encode())


def _fits(phc: str, password: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode(), phc)
    except (InvalidKey, ValueError):
        return False
    return True


class Throttle:
    """Makes those who fail wait: after `FREE_TRIES`, 1, 2, 4 ... up to `WAIT_S_MAX` seconds. In memory, bounded."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and when it may try again

    def wait_s(self, *keys: str) -> float:
        """How long these must still wait."""
        with self._lock:
            return max([0.0, *(self._failures.get(key, (0, 0.0))[1] - self._now_s() for key in keys)])

    def failed(self, *keys: str) -> None:
        """They were wrong."""
        with self._lock:
            for key in keys:
                count = self._failures.pop(key, (0, 0.0))[0] + 1
                pause_s = min(2.0 ** (count - FREE_TRIES - 1), WAIT_S_MAX) if count > FREE_TRIES else 0.0
                self._failures[key] = (count, self._now_s() + pause_s)
            while len(self._failures) > THROTTLED_MAX:
                self._failures.popitem(last=False)

    def succeeded(self, *keys: str) -> None:
        """They were right: the count begins anew."""
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)


class Bucket:
    """Lets `rate_per_s` requests a second through for each key, `burst` at once. In memory, bounded."""

    def __init__(self, now_s: Callable[[], float], rate_per_s: float, burst: int, keys_max: int = 2048) -> None:
        self._now_s, self._rate, self._burst, self._keys_max = now_s, rate_per_s, burst, keys_max
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Is one more let through?"""
        now_s = self._now_s()
        with self._lock:
            left, at_s = self._left.pop(key, (float(self._burst), now_s))
            left = min(float(self._burst), left + max(0.0, now_s - at_s) * self._rate)
            self._left[key] = (left - 1.0 if left >= 1.0 else left, now_s)
            while len(self._left) > self._keys_max:
                self._left.popitem(last=False)
        return left >= 1.0
