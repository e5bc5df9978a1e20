"""A sheet of paper: millimetres from its upper left corner, a head that says who, a foot that says what and from where.

Text uses DejaVu Sans where the machine has it, else the Vera that reportlab ships. A letter that the font lacks is
printed as "?": a hole in a name must be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import reportlab
from reportlab.graphics import renderPDF
from reportlab.graphics.barcode.qr import QrCodeWidget
from reportlab.graphics.shapes import Drawing
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from bedside.core.time import iso_utc
from bedside.printing.content import Origin, Who

MM = 72 / 25.4  # points
MARGIN_MM = 9.5
HEAD_MM = 27.0
FOOT_MM = 19.0
RULER_MM = 50.0
BLACK, GREY, RED, PALE = (0, 0, 0), (0.4, 0.4, 0.4), (0.75, 0, 0), (0.93, 0.93, 0.93)
Colour = tuple[float, float, float]
_SYSTEM_FONTS = Path("/usr/share/fonts/truetype/dejavu")


class Paper(Enum):
    """Sheets, lying: width and height in millimetres (ISO 216; ANSI/ASME Y14.1 A)."""

    A4 = (297.0, 210.0)
    LETTER = (279.4, 215.9)

    @property
    def width_mm(self) -> float:
        return float(self.value[0])

    @property
    def height_mm(self) -> float:
        return float(self.value[1])


@dataclass(frozen=True, slots=True)
class Face:
    """A font by the name it has in the document, and the letters that it has."""

    name: str
    letters: frozenset[int]

    def printable(self, text: str) -> str:
        """`text` on one line, with "?" for what the font lacks."""
        return "".join(letter if ord(letter) in self.letters else "?" for letter in " ".join(text.split()))


@cache
def face(bold: bool) -> Face:
    """The font for running text."""
    system, shipped = ("DejaVuSans-Bold.ttf", "VeraBd.ttf") if bold else ("DejaVuSans.ttf", "Vera.ttf")
    path = _SYSTEM_FONTS / system
    if not path.exists():
        path = Path(reportlab.__file__).parent / "fonts" / shipped
    font = TTFont("BedsideBold" if bold else "Bedside", str(path))
    pdfmetrics.registerFont(font)
    return Face(font.fontName, frozenset(font.face.charToGlyph))


class Sheets:
    """A document that grows by sheets; `head` and `foot` are drawn on each. Coordinates in mm, y downwards."""

    def __init__(self, paper: Paper, who: Who, origin: Origin, between: tuple[int, int]) -> None:
        self.paper = paper
        self.number = 0
        self._who, self._origin, self._between = who, origin, between
        self._out = BytesIO()
        size = (paper.width_mm * MM, paper.height_mm * MM)
        self.canvas: Any = Canvas(self._out, pagesize=size, invariant=1)
        self.canvas.setTitle(face(False).printable(origin.title))  # no name: titles show in windows and lists of files
        self.canvas.setCreator(origin.software)

    @property
    def top_mm(self) -> float:
        return HEAD_MM

    @property
    def bottom_mm(self) -> float:
        return self.paper.height_mm - FOOT_MM

    def begin(self) -> None:
        """A new sheet."""
        if self.number:
            self.canvas.showPage()
        self.number += 1
        self._head()
        self._foot()

    def done(self) -> bytes:
        """The document."""
        self.canvas.save()
        return self._out.getvalue()

    def text(
        self,
        x_mm: float,
        y_mm: float,
        text: str,
        *,
        size_pt: float = 9,
        bold: bool = False,
        colour: Colour = BLACK,
        right: bool = False,
        width_mm: float | None = None,
    ) -> None:
        """One line whose foot stands at `y_mm`; cut with "…" where it would be wider than `width_mm`."""
        font = face(bold)
        text = font.printable(text)
        if width_mm is not None:
            text = _cut(text, font.name, size_pt, width_mm)
        self.canvas.setFont(font.name, size_pt)
        self.canvas.setFillColorRGB(*colour)
        draw = self.canvas.drawRightString if right else self.canvas.drawString
        draw(x_mm * MM, self._y(y_mm), text)

    def line(
        self, x0_mm: float, y0_mm: float, x1_mm: float, y1_mm: float, *, width_mm: float = 0.2, colour: Colour = BLACK
    ) -> None:
        """A straight line."""
        self.canvas.setStrokeColorRGB(*colour)
        self.canvas.setLineWidth(width_mm * MM)
        self.canvas.line(x0_mm * MM, self._y(y0_mm), x1_mm * MM, self._y(y1_mm))

    def lines(self, segments: Sequence[tuple[float, float, float, float]], *, width_mm: float, colour: Colour) -> None:
        """Many straight lines, in one stroke."""
        self.canvas.setStrokeColorRGB(*colour)
        self.canvas.setLineWidth(width_mm * MM)
        self.canvas.lines([(x0 * MM, self._y(y0), x1 * MM, self._y(y1)) for x0, y0, x1, y1 in segments])

    def polyline(self, points: Sequence[tuple[float, float]], *, width_mm: float, colour: Colour = BLACK) -> None:
        """A line through all points."""
        path = self.canvas.beginPath()
        path.moveTo(points[0][0] * MM, self._y(points[0][1]))
        for x_mm, y_mm in points[1:]:
            path.lineTo(x_mm * MM, self._y(y_mm))
        self.canvas.setStrokeColorRGB(*colour)
        self.canvas.setLineWidth(width_mm * MM)
        self.canvas.setLineJoin(1)
        self.canvas.drawPath(path)

    def box(self, x_mm: float, y_mm: float, width_mm: float, height_mm: float, colour: Colour) -> None:
        """A filled rectangle; `y_mm` is its upper edge."""
        self.canvas.setFillColorRGB(*colour)
        self.canvas.rect(x_mm * MM, self._y(y_mm + height_mm), width_mm * MM, height_mm * MM, stroke=0, fill=1)

    def _y(self, y_mm: float) -> float:
        return (self.paper.height_mm - y_mm) * MM

    def _head(self) -> None:
        who, right_mm = self._who, self.paper.width_mm - MARGIN_MM
        name = "name withheld from this reader" if who.name is None else who.name
        self.text(MARGIN_MM, 13, name, size_pt=13, bold=who.name is not None, width_mm=150)
        bed = "" if who.bed is None else f"   {who.bed}"
        self.text(MARGIN_MM, 18, f"patient {who.id}{bed}", size_pt=8, width_mm=150)
        self.text(right_mm, 13, self._origin.title, size_pt=11, bold=True, right=True)
        start, end = map(iso_utc, self._between)
        self.text(right_mm, 18, f"{_clock(start)} to {_clock(end)} UTC", size_pt=8, right=True)
        if who.simulated:
            self.text(right_mm, 24.3, "SIMULATED: no patient", size_pt=9, bold=True, colour=RED, right=True)
        self.line(MARGIN_MM, 20, right_mm, 20)

    def _foot(self) -> None:
        origin, right_mm = self._origin, self.paper.width_mm - MARGIN_MM
        y_mm = self.paper.height_mm - FOOT_MM + 4
        self.line(MARGIN_MM, y_mm, right_mm, y_mm)
        self._ruler(y_mm + 3)
        x_mm = MARGIN_MM + RULER_MM + 4
        width_mm = right_mm - 16 - x_mm
        said = f"printed {_clock(iso_utc(origin.printed_us))} UTC by {origin.printed_by}"
        models = f"; models {', '.join(origin.models)}" if origin.models else ""
        self.text(x_mm, y_mm + 3.6, f"sheet {self.number}; {said}", size_pt=6.5, width_mm=width_mm)
        self.text(x_mm, y_mm + 6.6, f"{origin.software}{models}", size_pt=6.5, width_mm=width_mm)
        if origin.log_head is not None:
            trace = f"log head {origin.log_head}" + (f"; audit {origin.act}" if origin.act else "")
            self.text(x_mm, y_mm + 9.6, trace, size_pt=6.5, width_mm=width_mm)
            self._qr(right_mm - 13, y_mm + 0.6, f"bedside log {origin.log_head} audit {origin.act or '-'}")

    def _ruler(self, y_mm: float) -> None:
        """Who prints at another size sees it here."""
        self.line(MARGIN_MM, y_mm, MARGIN_MM + RULER_MM, y_mm, width_mm=0.3)
        for at_mm in range(0, int(RULER_MM) + 1, 10):
            self.line(MARGIN_MM + at_mm, y_mm - 1, MARGIN_MM + at_mm, y_mm + 1, width_mm=0.3)
        self.text(MARGIN_MM, y_mm + 4, "must measure 50 mm: else not printed at 100 %, and", size_pt=5.5)
        self.text(MARGIN_MM, y_mm + 6.5, "nothing on this sheet is to scale", size_pt=5.5)

    def _qr(self, x_mm: float, y_mm: float, text: str) -> None:
        code = QrCodeWidget(text, barLevel="L")
        left, bottom, right, top = code.getBounds()
        side = 13 * MM
        drawing = Drawing(side, side, transform=[side / (right - left), 0, 0, side / (top - bottom), 0, 0])
        drawing.add(code)
        renderPDF.draw(drawing, self.canvas, x_mm * MM, self._y(y_mm + 13))


def _clock(iso: str) -> str:
    return iso[:19].replace("T", " ")


def _cut(text: str, font: str, size_pt: float, width_mm: float) -> str:
    if pdfmetrics.stringWidth(text, font, size_pt) <= width_mm * MM:
        return text
    while text and pdfmetrics.stringWidth(f"{text}…", font, size_pt) > width_mm * MM:
        text = text[:-1]
    return f"{text}…"
