"""Which models judge in a running gateway, end to end: a candidate beside them, a refused set, none at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from virtual_hour import run_virtually, virtual_box

from bedside.core.errors import SetupError
from bedside.models import shipped, signing
from bedside.models.inference import Model
from bedside.models.shelf import FILES, Shelf
from bedside.stage import bodies_for

pytestmark = pytest.mark.requirement("MOD-001", "MOD-005")


def placed_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped models, signed by a key that the settings name."""
    public = signing.new_key(tmp_path / "own.key")
    monkeypatch.setattr(signing, "RELEASE_KEYS", {**signing.RELEASE_KEYS, public: "of this test"})
    source = tmp_path / "source"
    source.mkdir()
    for name in FILES:
        shutil.copy(shipped.folder() / name, source / name)
    facts = json.loads((source / "manifest.json").read_text()) | {"made": "here"}
    (source / "manifest.json").write_text(json.dumps(facts))
    signing.sign(source / "manifest.json", tmp_path / "own.key")
    return source


def kinds_after(folder: Path, seconds: float) -> tuple[dict[str, str], list[str], str]:
    """Open conditions of the box (text by kind), classes of beats, and what is said of the models."""

    async def watch() -> tuple[dict[str, str], list[str], str]:
        async with virtual_box(folder, bodies=bodies_for(demo=True, replays=())[1:2]) as box:
            await box.until(seconds)
            ward = box.gateway.ward
            alarms = {alarm.kind: alarm.text for alarm in ward._box.open()}
            events = box.gateway._store.events(None, 0, 2**62, ("beat",))
            events = [*events] or [
                event
                for patient in box.gateway._store.patients()
                for event in box.gateway._store.events(patient.id, 0, 2**62, ("beat",))
            ]
            part = next(one for one in ward.parts.views() if one["name"] == "models")
            return alarms, [str(event.beat_class) for event in events], part["detail"]  # type: ignore[attr-defined]

    return run_virtually(watch)


def test_a_candidate_listens_while_the_live_models_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = placed_set(tmp_path, monkeypatch)
    home = tmp_path / "home"
    box = Shelf(home / "models")
    box.install(source)
    alarms, beats, words = kinds_after(home, 75)
    assert "models_refused" not in alarms
    assert "candidate" in words
    document = json.loads(box.comparison.read_text())
    assert sum(n for *_, n in document["tables"]["beats"]) > 50
    assert beats


def test_a_refused_set_is_an_alarm_and_the_shipped_models_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = placed_set(tmp_path, monkeypatch)
    home = tmp_path / "home"
    box = Shelf(home / "models")
    which = box.install(source)
    box.switch()
    (box.place(which) / "manifest.sig").unlink()
    alarms, beats, _ = kinds_after(home, 20)
    assert "not signed" in alarms["models_refused"]
    assert "model_missing" not in alarms
    assert "N" in beats


def test_without_any_model_the_ward_monitors_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> Model:
        raise SetupError("a damaged file", hint="reinstall")

    monkeypatch.setattr(Model, "load", refused)
    alarms, beats, words = kinds_after(tmp_path / "home", 20)
    assert {"model_missing", "rhythm_model_failed"} <= alarms.keys()
    assert set(beats) == {"Q"}
    assert "damaged file" in words
