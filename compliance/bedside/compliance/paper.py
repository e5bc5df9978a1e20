"""All claims as one PDF, for who wants paper."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from bedside.compliance.claims import Claim, count

_WIDTHS = (28 * mm, 22 * mm, 115 * mm, 102 * mm)


def paper(claims: Sequence[Claim], facts: Mapping[str, str]) -> bytes:
    """The document. The same claims and facts give the same bytes."""
    styles = getSampleStyleSheet()
    small = styles["BodyText"].clone("small", fontSize=7.5, leading=9)
    counts = ", ".join(f"{n} {state}" for state, n in count(claims).items())
    rows: list[list[object]] = [["id", "state", "claim", "carried by"]]
    rows += [
        [one.id, str(one.state), Paragraph(escape(one.text), small), Paragraph(escape(one.why), small)]
        for one in claims
    ]
    table = Table(rows, colWidths=_WIDTHS, repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("FONTSIZE", (0, 0), (-1, -1), 7.5),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey),
                ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold"),
            ]
        )
    )
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out, pagesize=landscape(A4), title="Bedside: evidence", author="Bedside", invariant=1,
        leftMargin=15 * mm, rightMargin=15 * mm, topMargin=15 * mm, bottomMargin=15 * mm,
    )  # fmt: skip
    head = f"Version {facts['version']}, built {facts['when']}, tests of {facts['tested']}. "
    head += f"{len(claims)} claims: {counts}."
    warning = "Nothing here is a clearance: Bedside has not been reviewed by any authority."
    document.build(
        [
            Paragraph("Bedside: evidence", styles["Title"]), Paragraph(escape(head), styles["BodyText"]),
            Paragraph(warning, styles["BodyText"]), Spacer(1, 4 * mm), table,
        ]
    )  # fmt: skip
    return out.getvalue()
