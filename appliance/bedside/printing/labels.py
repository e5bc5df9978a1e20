"""Labels for wearables: a QR code and the six characters, on a sheet of A4 to cut or of stickers (38.1 x 21.2 mm).

A label says which wearable it is to this box alone: no name, no address, no serial number stands on it or in the file.
Sixty-five on a sheet, five columns of thirteen, the layout of the sticker sheets sold as L7651.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from reportlab.pdfgen.canvas import Canvas

from bedside.printing.page import MM
from bedside.printing.qr import qr_rows

SHEET_MM = (210.0, 297.0)
COLUMNS, ROWS = 5, 13
PITCH_MM = (40.6, 21.2)
SIZE_MM = (38.1, 21.2)
FIRST_MM = (4.75, 10.7)
QR_MM = 16.0
LABELS_MAX = 1_000


def labels_pdf(labels: Sequence[str], *, page: str | None = None) -> bytes:
    """The sheets; the same bytes for the same labels. `page`: the address of the dashboard's pairing page.

    With `page` a phone's camera opens it with the label filled in; without, the code holds `BEDSIDE:` and the label.
    The label is behind a `#`, which a browser sends nowhere. Raises `ValueError` for none, or more than 1,000.
    """
    if not 0 < len(labels) <= LABELS_MAX:
        raise ValueError(f"labels: expected 1 to {LABELS_MAX}, got {len(labels)}")
    out = BytesIO()
    canvas = Canvas(out, pagesize=(SHEET_MM[0] * MM, SHEET_MM[1] * MM), invariant=1)
    canvas.setTitle("Labels for wearables")
    canvas.setCreator("Bedside")
    for number, label in enumerate(labels):
        place = number % (COLUMNS * ROWS)
        if number and place == 0:
            canvas.showPage()
        x_mm = FIRST_MM[0] + PITCH_MM[0] * (place % COLUMNS)
        y_mm = FIRST_MM[1] + PITCH_MM[1] * (place // COLUMNS)
        _label(canvas, label, f"{page}#{label}" if page else f"BEDSIDE:{label}", x_mm, y_mm)
    canvas.save()
    return out.getvalue()


def _label(canvas: Canvas, label: str, content: str, x_mm: float, y_mm: float) -> None:
    top = SHEET_MM[1] - y_mm
    canvas.setStrokeColorRGB(0.8, 0.8, 0.8)
    canvas.setLineWidth(0.2)
    canvas.rect(x_mm * MM, (top - SIZE_MM[1]) * MM, SIZE_MM[0] * MM, SIZE_MM[1] * MM)
    rows = qr_rows(content)
    module = QR_MM * MM / len(rows)
    left, upper = (x_mm + 1.2) * MM, (top - (SIZE_MM[1] - QR_MM) / 2) * MM
    canvas.setFillColorRGB(0, 0, 0)
    for y, row in enumerate(rows):
        for x, dark in enumerate(row):
            if dark:
                canvas.rect(left + x * module, upper - (y + 1) * module, module, module, stroke=0, fill=1)
    text_mm = x_mm + 1.2 + QR_MM + 1.0
    canvas.setFont("Courier-Bold", 15)
    canvas.drawString(text_mm * MM, (top - 9.6) * MM, label[:3])
    canvas.drawString(text_mm * MM, (top - 15.2) * MM, label[3:])
    canvas.setFont("Helvetica", 5.5)
    canvas.drawString(text_mm * MM, (top - 18.6) * MM, "Bedside")
