"""What a gateway judges with: the live models, and a candidate beside them where a person put one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bedside.models import shelf as shelves
from bedside.models.beats import BeatClassifier
from bedside.models.rhythm import RhythmJudge
from bedside.models.shadow import Comparison, ShadowedBeats, ShadowedWindows
from bedside.models.shelf import Keys, Loaded, Shelf

COMPARISON_BYTES_MAX: Final = 1 << 20


class Panel:
    """Made once when a gateway starts; gives a classifier for each patient and one judge of half minutes."""

    def __init__(self, live: Loaded, candidate: Loaded | None, now_us: Callable[[], int], kept: Path) -> None:
        self.live, self._kept = live, kept
        self._candidate = candidate if candidate is not None and candidate.models else None
        self.candidate_fault = candidate.refused if candidate is not None else None
        self._comparison: Comparison | None = None
        self._written: dict[str, object] = {}
        if self._candidate is not None:
            self._comparison = Comparison(live.digests(), self._candidate.digests(), now_us)
            self._comparison.resume(_read(kept))

    @classmethod
    def open(cls, shelf: Shelf, more_keys: Keys, now_us: Callable[[], int]) -> Panel:
        """The models of the box whose sets are on `shelf`; never raises: what is wrong stands in `live`."""
        candidate = shelves.load_candidate(shelf, more_keys)
        return cls(shelves.load(shelf, more_keys), candidate, now_us, shelf.comparison)

    def beats(self) -> BeatClassifier | ShadowedBeats:
        """A classifier for one patient."""
        live = BeatClassifier(self.live.models.get("beats"))
        candidate = self._candidate.models.get("beats") if self._candidate is not None else None
        if candidate is None or self._comparison is None:
            return live
        return ShadowedBeats(live, BeatClassifier(candidate), self._comparison)

    def windows(self) -> RhythmJudge | ShadowedWindows:
        """The judge of half minutes."""
        live = RhythmJudge(self.live.models.get("rhythm"))
        candidate = self._candidate.models.get("rhythm") if self._candidate is not None else None
        if candidate is None or self._comparison is None:
            return live
        return ShadowedWindows(live, RhythmJudge(candidate), self._comparison)

    def words(self) -> str:
        """For the health of the parts: what judges, and what listens."""
        if self._candidate is not None:
            return "models loaded, a candidate runs beside them: `bedside models compare`"
        if self.candidate_fault is not None:
            return f"models loaded; the candidate was refused: {self.candidate_fault}"
        return "models loaded"

    def unsaved(self) -> Callable[[], None] | None:
        """What writes the comparison, to be run where files may be written; None while there is nothing new."""
        if self._comparison is None:
            return None
        document = self._comparison.document()
        news = {name: document[name] for name in ("tables", "failures")}
        if news == self._written:
            return None
        self._written = news
        return lambda: _write(self._kept, document)


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(COMPARISON_BYTES_MAX))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _write(path: Path, document: dict[str, object]) -> None:
    """Raises `OSError`."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document) + "\n")
    new.replace(path)
