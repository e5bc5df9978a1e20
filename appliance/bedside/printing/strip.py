"""One row of millimetre paper: ten seconds of a lead at 25 mm/s, an ECG at 10 mm/mV (or half, or a quarter: said so).

Before the seconds stands the calibration mark, 1 mV high and 0.2 s wide, drawn at the row's own gain. Where samples are
missing the trace breaks and the paper is grey; where it leaves the row it is cut and a mark says so. Nothing
is filtered or smoothed. Source of the scales: IEC 60601-2-25 (25 mm/s, 10 mm/mV); the grid is 1 and 5 mm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bedside.core.time import iso_utc
from bedside.printing.content import Floats, Lead, Span, Stretch
from bedside.printing.page import BLACK, GREY, PALE, RED, Sheets

SPEED_MM_S = 25.0
ROW_S = 10.0
ROW_US = 10_000_000
GRID_MM = SPEED_MM_S * ROW_S
LEADER_MM = 10.0  # for the calibration mark
WIDTH_MM = LEADER_MM + GRID_MM
ECG_ROW_MM = 30.0
OTHER_ROW_MM = 15.0
LABEL_MM = 4.5  # above the grid: name, scale, beats
GAINS_MM_MV = (10.0, 5.0, 2.5)
_FINE, _COARSE = (0.97, 0.80, 0.80), (0.90, 0.55, 0.55)


def height_mm(lead: Lead) -> float:
    """What a row of this lead takes of the sheet."""
    return (ECG_ROW_MM if lead.to_scale else OTHER_ROW_MM) + LABEL_MM + 3.5


def gain_mm_mv(lead: Lead, start_us: int, end_us: int) -> float:
    """One gain for all rows of a window: the largest at which three quarters of them fit; else the smallest."""
    spans = []
    for row_us in range(start_us, end_us, ROW_US):
        values = np.concatenate([np.empty(0), *(part for _, part in pieces(lead, row_us, row_us + ROW_US))])
        if values.size:
            spans.append(float(np.ptp(values)))
    for gain in GAINS_MM_MV:
        if sum(span * gain <= ECG_ROW_MM for span in spans) >= 0.75 * len(spans):
            return gain
    return GAINS_MM_MV[-1]


def pieces(lead: Lead, start_us: int, end_us: int) -> Iterator[tuple[Floats, Floats]]:
    """Unbroken runs within the range: seconds since `start_us`, and values; both of shape (n,)."""
    for stretch in lead.stretches:
        if stretch.start_us >= end_us or stretch.end_us <= start_us:
            continue
        at_s = (stretch.start_us - start_us) / 1e6 + np.arange(stretch.values.size) / stretch.rate_hz
        inside = (at_s >= 0) & (at_s < (end_us - start_us) / 1e6) & np.isfinite(stretch.values)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], inside.astype(np.int8), [0]))))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            yield at_s[begin:end], stretch.values[begin:end]


def holes(lead: Lead, start_us: int, end_us: int) -> list[tuple[float, float]]:
    """Seconds of the range without a sample: from, to."""
    slack_s = 1.5 / min((one.rate_hz for one in lead.stretches), default=1000.0)
    covered = sorted((float(at_s[0]), float(at_s[-1])) for at_s, _ in pieces(lead, start_us, end_us))
    found, reached_s = [], 0.0
    for begin_s, end_s in covered:
        if begin_s - reached_s > slack_s:
            found.append((reached_s, begin_s))
        reached_s = max(reached_s, end_s)
    whole_s = (end_us - start_us) / 1e6
    if whole_s - reached_s > slack_s:
        found.append((reached_s, whole_s))
    return found


def draw_row(sheets: Sheets, lead: Lead, start_us: int, end_us: int, top_mm: float, gain: float) -> None:
    """The row of `[start_us, end_us)`, at most `ROW_S` long, whose label begins at `top_mm`."""
    left_mm = (sheets.paper.width_mm - WIDTH_MM) / 2
    zero_mm = left_mm + LEADER_MM
    high_mm = ECG_ROW_MM if lead.to_scale else OTHER_ROW_MM
    grid_mm = top_mm + LABEL_MM
    for begin_s, until_s in holes(lead, start_us, end_us):
        wide_mm = (until_s - begin_s) * SPEED_MM_S
        sheets.box(zero_mm + begin_s * SPEED_MM_S, grid_mm, wide_mm, high_mm, PALE)
    _grid(sheets, left_mm, grid_mm, high_mm)
    shown = list(pieces(lead, start_us, end_us))
    centre, mm_per_unit = _scale(shown, high_mm, gain if lead.to_scale else None)
    middle_mm = grid_mm + high_mm / 2
    for at_s, values in shown:
        _trace(sheets, zero_mm + at_s * SPEED_MM_S, middle_mm - (values - centre) * mm_per_unit, grid_mm, high_mm)
    for begin_s, until_s in holes(lead, start_us, end_us):
        if (until_s - begin_s) * SPEED_MM_S > 18:
            sheets.text(zero_mm + begin_s * SPEED_MM_S + 2, middle_mm + 1, "no samples", size_pt=7, colour=GREY)
    if lead.to_scale:
        _calibration(sheets, left_mm, middle_mm, gain)
    _words(sheets, lead, top_mm, zero_mm, gain)
    _signs(sheets, lead, start_us, end_us, top_mm, zero_mm)
    _times(sheets, start_us, end_us, zero_mm, grid_mm + high_mm)


def _grid(sheets: Sheets, left_mm: float, top_mm: float, high_mm: float) -> None:
    for step_mm, width_mm, colour in ((1.0, 0.08, _FINE), (5.0, 0.18, _COARSE)):
        across = [
            (left_mm + at, top_mm, left_mm + at, top_mm + high_mm)
            for at in np.arange(0, WIDTH_MM + 0.5, step_mm).tolist()
        ]
        along = [
            (left_mm, top_mm + at, left_mm + WIDTH_MM, top_mm + at)
            for at in np.arange(0, high_mm + 0.5, step_mm).tolist()
        ]
        sheets.lines(across + along, width_mm=width_mm, colour=colour)


def _scale(shown: Sequence[tuple[Floats, Floats]], high_mm: float, gain: float | None) -> tuple[float, float]:
    """What stands in the row's middle, and millimetres a unit."""
    values = np.concatenate([np.empty(0), *(part for _, part in shown)])
    if not values.size:
        return 0.0, gain or 1.0
    least, greatest = float(values.min()), float(values.max())
    if gain is None:
        return (least + greatest) / 2, (high_mm - 2) / max(greatest - least, 1e-9)
    fits = (greatest - least) * gain <= high_mm
    return ((least + greatest) / 2 if fits else float(np.median(values))), gain


def _trace(sheets: Sheets, x_mm: Floats, y_mm: Floats, top_mm: float, high_mm: float) -> None:
    inside = np.clip(y_mm, top_mm, top_mm + high_mm)
    points = list(zip(x_mm.tolist(), inside.tolist(), strict=True))
    if len(points) == 1:
        points.append((points[0][0] + 0.2, points[0][1]))
    sheets.polyline(points, width_mm=0.25)
    cut = np.flatnonzero(inside != y_mm)
    for at in cut[np.flatnonzero(np.diff(cut, prepend=-10) > 1)]:  # once for each time that it leaves
        edge_mm, x = float(inside[at]), float(x_mm[at])
        tip_mm = 1.2 if edge_mm == top_mm else -1.2
        sheets.polyline([(x - 1, edge_mm + tip_mm), (x, edge_mm), (x + 1, edge_mm + tip_mm)], width_mm=0.4, colour=RED)


def _calibration(sheets: Sheets, left_mm: float, middle_mm: float, gain: float) -> None:
    foot_mm, head_mm = middle_mm + gain / 2, middle_mm - gain / 2
    x_mm = left_mm + 2.5
    mark = [(x_mm - 1.5, foot_mm), (x_mm, foot_mm), (x_mm, head_mm), (x_mm + 5, head_mm), (x_mm + 5, foot_mm)]
    sheets.polyline([*mark, (x_mm + 6.5, foot_mm)], width_mm=0.35)


def _words(sheets: Sheets, lead: Lead, top_mm: float, zero_mm: float, gain: float) -> None:
    left_mm = zero_mm - LEADER_MM
    sheets.text(left_mm, top_mm + 3.4, lead.label, size_pt=9, bold=True, width_mm=24)
    if lead.to_scale:
        scale = f"25 mm/s  {gain:g} mm/mV"
        if gain != GAINS_MM_MV[0]:
            scale += " (NOT the usual 10)"
    else:
        scale = "25 mm/s  height not to scale"
    colour = RED if lead.to_scale and gain != GAINS_MM_MV[0] else GREY
    simulated = "  SIMULATED" if lead.simulated else ""
    sheets.text(left_mm + 25, top_mm + 3.4, f"{scale}  {lead.filtered}{simulated}", size_pt=6.5, colour=colour)


def _signs(sheets: Sheets, lead: Lead, start_us: int, end_us: int, top_mm: float, zero_mm: float) -> None:
    """Beats' letters along the grid's upper edge, what lasts as a bar under them."""
    for beat in lead.beats:
        if start_us <= beat.time_us < end_us:
            x_mm = zero_mm + (beat.time_us - start_us) / 1e6 * SPEED_MM_S
            plain = beat.symbol == "N"
            sheets.text(
                x_mm - 0.9, top_mm + LABEL_MM + 2.6, beat.symbol,
                size_pt=6.5 if plain else 8, bold=not plain, colour=GREY if plain else BLACK,
            )  # fmt: skip
    for span in lead.spans:
        if span.start_us < end_us and span.end_us > start_us:
            _bar(sheets, span, start_us, end_us, top_mm + LABEL_MM + 3.6, zero_mm)


def _bar(sheets: Sheets, span: Span, start_us: int, end_us: int, y_mm: float, zero_mm: float) -> None:
    begin_mm = zero_mm + (max(span.start_us, start_us) - start_us) / 1e6 * SPEED_MM_S
    end_mm = zero_mm + (min(span.end_us, end_us) - start_us) / 1e6 * SPEED_MM_S
    colour = RED if span.warning else GREY
    sheets.line(begin_mm, y_mm, max(end_mm, begin_mm + 0.5), y_mm, width_mm=0.5, colour=colour)
    sheets.text(begin_mm + 0.5, y_mm + 2.6, span.text, size_pt=6, bold=True, colour=colour, width_mm=40)


def _times(sheets: Sheets, start_us: int, end_us: int, zero_mm: float, foot_mm: float) -> None:
    sheets.text(zero_mm, foot_mm + 2.8, f"{iso_utc(start_us)[11:21]} UTC", size_pt=6.5)
    for at_s in range(1, round((end_us - start_us) / 1e6) + 1):
        x_mm = zero_mm + at_s * SPEED_MM_S
        sheets.line(x_mm, foot_mm, x_mm, foot_mm + 1.2, width_mm=0.25)
    if end_us - start_us > ROW_US / 2:
        sheets.text(zero_mm + GRID_MM / 2, foot_mm + 2.8, f"{iso_utc(start_us + ROW_US // 2)[17:19]} s", size_pt=6.5)


def stretch_of(start_us: int, rate_hz: float, values: Floats) -> Stretch:
    """A stretch of float64 values. Raises `ValueError` for a rate that is none."""
    if not rate_hz > 0:
        raise ValueError(f"rate_hz {rate_hz!r}: expected more than 0")
    return Stretch(start_us=start_us, rate_hz=rate_hz, values=np.asarray(values, np.float64))
