"""Labels for wearables: what stands on them, and what must not."""

from __future__ import annotations

import re
import zlib

import pytest

from bedside.printing.labels import labels_pdf
from bedside.printing.qr import QUIET_MODULES, qr_path, qr_rows

pytestmark = pytest.mark.requirement("BLE-007")

FINDER = [
    "#######",
    "#.....#",
    "#.###.#",
    "#.###.#",
    "#.###.#",
    "#.....#",
    "#######",
]


def drawn(pdf: bytes) -> str:
    """The page's drawing commands in the clear (reportlab writes them as ASCII85 of a deflated stream)."""
    import base64

    found = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    return b"".join(zlib.decompress(base64.a85decode(one.strip().removesuffix(b"~>"))) for one in found).decode()


def test_a_sheet_holds_each_label_and_nothing_that_tells_whose_it_is() -> None:
    labels = ["K7Q2MD", "AAAAAA", "ZZ9ZZ0"]
    commands = drawn(labels_pdf(labels))
    for label in labels:
        assert f"({label[:3]})" in commands and f"({label[3:]})" in commands
    texts = set(re.findall(r"\(([^)]*)\) Tj", commands))
    assert texts == {"Bedside", *(half for label in labels for half in (label[:3], label[3:]))}


def test_the_same_labels_give_the_same_bytes_and_many_give_more_sheets() -> None:
    assert labels_pdf(["K7Q2MD"]) == labels_pdf(["K7Q2MD"])
    assert labels_pdf([f"AA{n:04d}" for n in range(66)]).count(b"/Type /Page\n") == 2
    for bad in ([], ["K7Q2MD"] * 1001):
        with pytest.raises(ValueError, match="labels"):
            labels_pdf(bad)


@pytest.mark.parametrize("text", ["BEDSIDE:K7Q2MD", "https://box.local:8460/pair#K7Q2MD"])
def test_a_code_has_its_three_finders_and_its_quiet_border(text: str) -> None:
    rows = qr_rows(text)
    side = len(rows)
    assert all(len(row) == side for row in rows)
    edge = [*rows[:QUIET_MODULES], *rows[-QUIET_MODULES:], *([*r[:QUIET_MODULES], *r[-QUIET_MODULES:]] for r in rows)]
    assert not any(any(row) for row in edge)
    first, last = QUIET_MODULES, side - QUIET_MODULES - 7
    for y, x in ((first, first), (first, last), (last, first)):
        assert ["".join("#" if dark else "." for dark in rows[y + n][x : x + 7]) for n in range(7)] == FINDER
    dark = sum(sum(row) for row in rows)
    assert qr_path(text) == (side, qr_path(text)[1]) and qr_path(text)[1].count("M") == dark
