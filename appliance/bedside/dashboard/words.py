"""The words of the patient's pages, in her language: `words.toml`, and which language a request is answered in."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources

DEFAULT = "en"


@cache
def _tables() -> Mapping[str, Mapping[str, str]]:
    read = resources.files(__package__).joinpath("words.toml").read_text("utf-8")
    return parse_words(read)


def parse_words(text: str) -> Mapping[str, Mapping[str, str]]:
    """The tables by language. Raises `ValueError` for a word that one language has and another lacks."""
    tables: dict[str, dict[str, str]] = tomllib.loads(text)
    wanted = set(tables[DEFAULT])
    for language, table in tables.items():
        odd = sorted(wanted.symmetric_difference(table))
        if odd:
            raise ValueError(f"words: {language}: {odd[0]} stands in one language alone")
    return tables


def languages() -> dict[str, str]:
    """Code: the language's own name for itself."""
    return {code: table["language"] for code, table in _tables().items()}


def language_of(chosen: str | None, accepted: str) -> str:
    """The language to use: the one that was chosen, else the first known one that the browser accepts, else English."""
    known = _tables()
    if chosen in known:
        return str(chosen)
    for word in accepted.split(","):
        code = word.split(";")[0].strip()[:2].lower()
        if code in known:
            return code
    return DEFAULT


def words_in(language: str) -> dict[str, str]:
    """All words in one language. Raises `KeyError` for one that there is not."""
    return dict(_tables()[language])
