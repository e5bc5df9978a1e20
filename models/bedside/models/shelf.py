"""The model sets of one box: which judge, which only listens, and the way back.

`BEDSIDE_HOME/models` holds a folder for each installed set, named by the digest of its manifest, and `sets.json`: the
set that judges (none: the one that this version ships), the candidate that runs beside it, and those that judged
before. A set is checked whole before it is copied here and read anew, signature and all, at each start. Files are
written beside their place and moved: a power cut leaves the old state or the new one. What a person changes here
takes effect when the gateway starts the next time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from bedside.core.errors import SetupError
from bedside.models import checking, shipped
from bedside.models.inference import Manifest, Model

Keys = Callable[[], Collection[str]]
FILES: Final = ("manifest.json", "manifest.sig", *(f"{name}.tflite" for name in checking.NAMES))
BEFORE_MAX: Final = 10
SETS_MAX: Final = 20
_ID: Final = re.compile(r"[0-9a-f]{16}")
_HINT: Final = "see `bedside models list`"


@dataclass(frozen=True, slots=True)
class State:
    """Ids of sets; None: the shipped one. `before`: what judged before, newest last."""

    live: str | None = None
    candidate: str | None = None
    before: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Shelf:
    """The sets in `folder`."""

    folder: Path

    @property
    def comparison(self) -> Path:
        """Where the gateway keeps what candidate and live set said otherwise."""
        return self.folder / "comparison.json"

    def state(self) -> State:
        """Raises `SetupError` when `sets.json` is damaged."""
        path = self.folder / "sets.json"
        try:
            facts = json.loads(path.read_text())
            state = State(facts["live"], facts["candidate"], tuple(facts["before"]))
            if not all(one is None or _ID.fullmatch(one) for one in (state.live, state.candidate, *state.before)):
                raise ValueError("no id")
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(
                f"{path}: damaged ({type(error).__name__})",
                hint=f"move {path} away: the shipped models judge then; install and switch anew",
            ) from error
        return state

    def place(self, which: str | None) -> Path:
        """Folder of a set; None: the shipped one."""
        return shipped.folder() if which is None else self.folder / which

    def installed(self) -> tuple[str, ...]:
        """Ids of the sets that lie here."""
        if not self.folder.is_dir():
            return ()
        return tuple(sorted(one.name for one in self.folder.iterdir() if _ID.fullmatch(one.name) and one.is_dir()))

    def install(self, source: Path, more_keys: Keys | None = None) -> str:
        """Check the models in `source`, copy them here and make them the candidate; give the set's id.

        Raises `SetupError` for what `checking.check` refuses, for the set that judges already, and for a full shelf.
        """
        checking.check(source, more_keys)
        which = hashlib.sha256((source / "manifest.json").read_bytes()).hexdigest()[:16]
        state = self.state()
        if which == self._id_of(state.live):
            raise SetupError(f"{source}: this set judges already", hint=_HINT)
        if which not in self.installed():
            if len(self.installed()) >= SETS_MAX:
                raise SetupError(f"{self.folder}: {SETS_MAX} sets", hint="remove folders of sets that are not in use")
            self._copy(source, which, more_keys)
        self._write(replace(state, candidate=which))
        return which

    def switch(self, more_keys: Keys | None = None) -> str:
        """Let the candidate judge from the next start on; give its id. Raises `SetupError` when there is none."""
        state = self.state()
        if state.candidate is None:
            raise SetupError("no candidate", hint="install one first: `bedside models install DIR`")
        checking.check(self.place(state.candidate), more_keys)
        before = (*state.before, state.live)[-BEFORE_MAX:]
        self._write(State(state.candidate, None, before))
        return state.candidate

    def rollback(self) -> str | None:
        """Let the set judge again that judged before; give its id (None: the shipped one). Raises `SetupError`."""
        state = self.state()
        if not state.before:
            raise SetupError("no set judged before this one", hint=_HINT)
        self._write(State(state.before[-1], state.candidate, state.before[:-1]))
        return state.before[-1]

    def drop(self) -> str:
        """No candidate any more; its files stay. Raises `SetupError` when there is none."""
        state = self.state()
        if state.candidate is None:
            raise SetupError("no candidate", hint=_HINT)
        self._write(replace(state, candidate=None))
        return state.candidate

    def _id_of(self, which: str | None) -> str:
        if which is not None:
            return which
        return hashlib.sha256((shipped.folder() / "manifest.json").read_bytes()).hexdigest()[:16]

    def _copy(self, source: Path, which: str, more_keys: Keys | None) -> None:
        new = self.folder / f".{which}.new"
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(mode=0o700, parents=True)
            for name in FILES:
                (new / name).write_bytes((source / name).read_bytes())
                _synced(new / name)
            checking.check(new, more_keys)  # what was copied, not what was there a moment ago
            new.rename(self.folder / which)
        except OSError as error:
            raise SetupError(
                f"{self.folder}: {error.strerror or error}", hint="free some space, or the folder"
            ) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _write(self, state: State) -> None:
        new = self.folder / ".sets.json.new"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_text(json.dumps(asdict(state), indent=1) + "\n")
            _synced(new)
            new.replace(self.folder / "sets.json")
            _synced(self.folder)
        except OSError as error:
            raise SetupError(
                f"{self.folder}: {error.strerror or error}", hint="free some space, or the folder"
            ) from error


def _synced(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What a gateway judges with. `faults`: why a model is not there; `refused`: why the installed set is not used."""

    models: Mapping[str, Model]
    faults: Mapping[str, str]
    refused: str | None = None

    def digests(self) -> dict[str, str]:
        """SHA-256 of the bytes of each model, by its name."""
        return {name: model.digest for name, model in self.models.items()}


def load(shelf: Shelf | None = None, more_keys: Keys | None = None) -> Loaded:
    """The models that judge on this box. An installed set that cannot be used is left for the shipped one, aloud."""
    refused = None
    try:
        live = shelf.state().live if shelf is not None else None
        if shelf is not None and live is not None:
            found = _read(shelf.place(live), more_keys)
            if not found.faults:
                return found
            refused = "; ".join(found.faults.values())
    except SetupError as error:
        refused = str(error)
    try:
        return replace(_read(shipped.folder(), more_keys), refused=refused)
    except SetupError as error:
        return Loaded({}, dict.fromkeys(checking.NAMES, str(error)), refused)


def load_candidate(shelf: Shelf, more_keys: Keys | None = None) -> Loaded | None:
    """The models that only listen; None where there is no candidate or none of it can be used (`refused` says why)."""
    try:
        candidate = shelf.state().candidate
    except SetupError as error:
        return Loaded({}, {}, str(error))
    if candidate is None:
        return None
    found = _read(shelf.place(candidate), more_keys)
    return replace(found, refused="; ".join(found.faults.values()) or None)


def _read(folder: Path, more_keys: Keys | None) -> Loaded:
    models, faults = {}, {}
    for name in checking.NAMES:
        try:
            model = Model.load(folder / f"{name}.tflite", Manifest.load(folder / "manifest.json", more_keys))
            checking.fits(model)
            models[name] = model
        except SetupError as error:
            faults[name] = str(error)
    return Loaded(models, faults)
