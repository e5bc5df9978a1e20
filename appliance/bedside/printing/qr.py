"""QR codes (ISO/IEC 18004) as rows of modules. Pure."""

from __future__ import annotations

from reportlab.graphics.barcode.qr import QrCodeWidget

QUIET_MODULES = 4
"""The light border that a reader needs (ISO/IEC 18004, 5.3.8)."""


def qr_rows(text: str) -> list[list[bool]]:
    """Dark modules, from the upper left corner, with the quiet border; error correction level M.

    Raises `ValueError` for a text that is empty or longer than 500 characters.
    """
    if not 0 < len(text) <= 500:
        raise ValueError(f"text: expected 1 to 500 characters, got {len(text)}")
    widget = QrCodeWidget(text, barLevel="M")
    widget.qr.make()
    size = widget.qr.getModuleCount()
    side = size + 2 * QUIET_MODULES
    inside = range(QUIET_MODULES, QUIET_MODULES + size)
    return [
        [
            y in inside and x in inside and bool(widget.qr.isDark(y - QUIET_MODULES, x - QUIET_MODULES))
            for x in range(side)
        ]
        for y in range(side)
    ]


def qr_path(text: str) -> tuple[int, str]:
    """A QR code for an SVG: modules a side, and the path of the dark ones."""
    rows = qr_rows(text)
    path = "".join(f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark)
    return len(rows), path
