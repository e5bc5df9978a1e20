"""Where things lie and how the box is set up: the one place for settings.

A value comes from, in this order: the command line, the environment (`BEDSIDE_…`),
`BEDSIDE_HOME/bedside.toml`, the default here. An unknown key is an error that names the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from bedside.core.errors import SetupError

SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un.sun_path, unix(7)


@dataclass(frozen=True, slots=True)
class Home:
    """The data folder. Everything in it is the box's own; folders are 0700, secrets 0600."""

    path: Path

    @property
    def store_db(self) -> Path:
        return self.path / "store.db"

    @property
    def outbox_db(self) -> Path:
        return self.path / "outbox.db"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def evidence(self) -> Path:
        return self.path / "evidence"

    @property
    def run(self) -> Path:
        """Sockets, locks and one-time tokens of the running appliance."""
        return self.path / "run"

    @property
    def version_file(self) -> Path:
        return self.path / "VERSION"

    @property
    def gateway_socket(self) -> Path:
        return self.run / "gateway.sock"

    @property
    def annunciator_socket(self) -> Path:
        return self.run / "annunciator.sock"

    @property
    def annunciator_log(self) -> Path:
        return self.path / "annunciator.log"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def operator(self) -> Path:
        """The embedded operator's own folder: another party, so nothing of ours is in it."""
        return self.path / "operator"

    @property
    def recipient(self) -> Path:
        """The demonstration's care team elsewhere: its key is not the box's. On a site it is another machine."""
        return self.path / "recipient"

    def make(self) -> None:
        """Create the folders. Raises `SetupError` when that is not possible."""
        longest = str(self.annunciator_socket)
        if len(longest.encode()) > SOCKET_PATH_BYTES_MAX:
            raise SetupError(
                f"data folder {self.path}: its path is too long for the sockets in it",
                hint=f"choose a folder whose path is at least {len(longest.encode()) - SOCKET_PATH_BYTES_MAX} bytes "
                "shorter, with --home DIR or BEDSIDE_HOME",
            )
        try:
            for folder in (self.path, self.keys, self.run, self.evidence, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.run / ".write-probe"
            probe.write_bytes(b"ok")
            probe.unlink()
        except OSError as error:
            raise SetupError(
                f"data folder {self.path}: {error.strerror or error}",
                hint="choose a folder that you may write, with --home DIR or BEDSIDE_HOME, or free some space",
            ) from error


def home_from(option: str | Path | None = None) -> Home:
    """The data folder: the option, else `BEDSIDE_HOME`, else the user's data folder."""
    chosen = option or os.environ.get("BEDSIDE_HOME") or user_data_path("bedside")
    return Home(Path(chosen).expanduser().absolute())
