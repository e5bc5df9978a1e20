"""Where things lie and how the box is set up: the one place for settings.

A value comes from, in this order: the command line, the environment (`BEDSIDE_…`),
`BEDSIDE_HOME/bedside.toml`, the default here. An unknown key is an error that names the file.
"""

from __future__ import annotations

import errno
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

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
    def annunciator_report(self) -> Path:
        """What the annunciator says of itself: what sounds, through which player."""
        return self.run / "annunciator.json"

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
    def operator_token(self) -> Path:
        """Where the operator's one-time enrolment token is put for the gateway."""
        return self.run / "operator-token"

    @property
    def recipient(self) -> Path:
        """The demonstration's care team elsewhere: its key is not the box's. On a site it is another machine."""
        return self.path / "recipient"

    @property
    def auditor(self) -> Path:
        """The demonstration's care site's auditor: its key is not the box's. On a site it is another machine."""
        return self.path / "auditor"

    @property
    def audit_socket(self) -> Path:
        """Where the gateway answers the care site's auditor."""
        return self.run / "audit.sock"

    @property
    def reserve(self) -> Path:
        """Room that is given up so that the box starts on a full disk: monitoring must not wait for a clean-up."""
        return self.path / "reserve"

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
            if error.errno == errno.ENOSPC and self.reserve.exists():
                self.reserve.unlink(missing_ok=True)
                self.make()
                return
            raise SetupError(
                f"data folder {self.path}: {error.strerror or error}",
                hint="choose a folder that you may write, with --home DIR or BEDSIDE_HOME, or free some space",
            ) from error


def demonstration_home() -> Home:
    """The demonstration's own data folder, so that it never mixes with patients; `BEDSIDE_HOME` wins here too."""
    place = home_from()
    return place if os.environ.get("BEDSIDE_HOME") else Home(place.path.with_name("bedside-demonstration"))


def home_in_use(option: str | Path | None = None) -> Home:
    """The data folder that a command looks at: as named, else the own, else the demonstration's where only that is."""
    own = home_from(option)
    if option is not None or os.environ.get("BEDSIDE_HOME") or own.version_file.exists():
        return own
    shown = demonstration_home()
    return shown if shown.version_file.exists() else own


def home_from(option: str | Path | None = None) -> Home:
    """The data folder: the option, else `BEDSIDE_HOME`, else the user's data folder."""
    chosen = option or os.environ.get("BEDSIDE_HOME") or user_data_path("bedside")
    return Home(Path(chosen).expanduser().absolute())


class WearableSetting(BaseModel):
    """A wearable that belongs to a patient: found by its address, or by its advertised name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=64)]
    address: Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$")] | None = None
    spot: bool = False
    """A cuff, thermometer, scale or meter: it calls when it has measured, and its silence is no loss."""
    erase_stored: bool = False
    """Erase a meter's memory after what it kept is on this box's disk. Only where the patient does not need it."""


class PatientSetting(BaseModel):
    """A patient of this box, with her wearables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    bed: Annotated[str, Field(max_length=20)] = ""
    wearables: tuple[WearableSetting, ...] = ()
    """Those that need no pairing; others become hers by `bedside pair` or the page of the dashboard."""


class Settings(BaseSettings):
    """Every setting of the appliance; units stand in the names."""

    model_config = SettingsConfigDict(env_prefix="BEDSIDE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="address that the dashboard listens on")
    port: int = Field(default=8460, ge=1, le=65535, description="port that the dashboard listens on")
    muted: bool = Field(default=False, description="no sound from this box; said on every screen")
    epoch_s: int = Field(default=3600, ge=60, le=86400, description="length of an attestation epoch")
    slot_s: int = Field(default=10, ge=1, le=60, description="one envelope leaves to the operator in every slot")
    signers: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = Field(
        default=(), description="public keys (Ed25519, hex) that may sign models, beside the release key"
    )
    witness: str = Field(
        default="",
        description="folder or http://HOST:PORT of another machine here that keeps heads of the records' log",
    )
    patients: tuple[PatientSetting, ...] = Field(default=(), description="who is monitored, with which wearables")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, environment, file: no `.env`, no secrets."""
        return init_settings, env_settings


def settings_from(home: Home, **options: object) -> Settings:
    """The settings in force. Options that are None count as not given.

    Raises `SetupError` naming the file and the key that is wrong.
    """
    file = home.path / "bedside.toml"
    given = {name: value for name, value in options.items() if value is not None}
    where = "settings"
    try:
        if file.exists():
            where = str(file)
            values = TomlConfigSettingsSource(Settings, toml_file=file)()
            unset = {name: value for name, value in values.items() if f"BEDSIDE_{name.upper()}" not in os.environ}
            given = {**unset, **given}
        return Settings(**given)  # type: ignore[arg-type]  # checked by the model itself
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{file}: not TOML: {error}", hint="mend the line, or move the file away") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SetupError(
            f"{where}: {key}: {first['msg']}", hint="see the settings' list in appliance/README.md"
        ) from error
