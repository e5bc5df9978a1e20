"""A report as PDF: the summary (numbers, alarms, trends, remarks), then strips of the chosen windows.

`report_pdf` takes plain values and gives bytes: the same values give the same bytes. It is meant for `records export
--format pdf` and for a page that hands a PDF out.
"""

from __future__ import annotations

from collections.abc import Sequence

from bedside.core.time import iso_utc
from bedside.printing.content import AlarmLine, Number, Report, Trend
from bedside.printing.page import BLACK, GREY, MARGIN_MM, RED, Paper, Sheets
from bedside.printing.strip import ROW_US, draw_row, gain_mm_mv, height_mm

_LINE_MM = 4.6
_TREND_MM = 22.0
_NUMBERS = ((0.0, "number"), (38.0, "newest"), (74.0, "at (UTC)"), (112.0, "least"), (134.0, "mean"), (156.0, "most"))


def report_pdf(report: Report, paper: Paper = Paper.A4) -> bytes:
    """The document. Raises `ValueError` when there is nothing to print or a time ends before it begins."""
    if not report.start_us < report.end_us or any(one.start_us >= one.end_us for one in report.windows):
        raise ValueError("report: a time ends before it begins")
    if not (report.windows or report.numbers or report.alarms or report.trends or report.remarks):
        raise ValueError("report: there is nothing to print")
    sheets = Sheets(paper, report.who, report.origin, (report.start_us, report.end_us))
    if report.numbers or report.alarms or report.trends or report.remarks:
        _summary(sheets, report)
    _strips(sheets, report)
    return sheets.done()


class _Cursor:
    """Where the next line goes; takes a new sheet when there is no room."""

    def __init__(self, sheets: Sheets) -> None:
        self.sheets = sheets
        sheets.begin()
        self.y_mm = sheets.top_mm

    def room(self, high_mm: float) -> float:
        """The upper edge of the next `high_mm`."""
        if self.y_mm + high_mm > self.sheets.bottom_mm:
            self.sheets.begin()
            self.y_mm = self.sheets.top_mm
        self.y_mm += high_mm
        return self.y_mm - high_mm


def _summary(sheets: Sheets, report: Report) -> None:
    at = _Cursor(sheets)
    for remark in report.remarks:
        sheets.text(MARGIN_MM, at.room(_LINE_MM) + 3.4, remark, size_pt=8, width_mm=sheets.paper.width_mm - 20)
    if report.numbers:
        _title(at, "Numbers")
        _numbers(at, report.numbers)
    _title(at, "Alarms")
    if not report.alarms:
        sheets.text(MARGIN_MM, at.room(_LINE_MM) + 3.4, "none recorded in this time", size_pt=8, colour=GREY)
    for alarm in report.alarms:
        _alarm(at, alarm)
    if report.trends:
        _title(at, "Trends (least to greatest as a bar, mean as a line; empty where there was no number)")
        for trend in report.trends:
            _trend(at, trend, report.start_us, report.end_us)


def _title(at: _Cursor, text: str) -> None:
    y_mm = at.room(3 * _LINE_MM) + 5.0  # with room for two lines after it
    at.y_mm -= 1.5 * _LINE_MM
    at.sheets.text(MARGIN_MM, y_mm, text, size_pt=10, bold=True)


def _numbers(at: _Cursor, numbers: Sequence[Number]) -> None:
    y_mm = at.room(_LINE_MM) + 3.4
    for x_mm, name in (*_NUMBERS, (178.0, "count"), (196.0, "withheld")):
        at.sheets.text(MARGIN_MM + x_mm, y_mm, name, size_pt=7, colour=GREY)
    for one in numbers:
        y_mm = at.room(_LINE_MM) + 3.4
        newest = "withheld" if one.newest is None else f"{one.newest:.{one.decimals}f} {_unit(one.unit)}"
        cells = (one.label, newest, iso_utc(one.newest_us)[:19].replace("T", " "))
        figures = ("–" if value is None else f"{value:.{one.decimals}f}" for value in (one.low, one.mean, one.high))
        for (x_mm, _), cell in zip(_NUMBERS, (*cells, *figures), strict=True):
            at.sheets.text(MARGIN_MM + x_mm, y_mm, cell, size_pt=8, width_mm=36)
        at.sheets.text(MARGIN_MM + 178, y_mm, str(one.count), size_pt=8)
        at.sheets.text(MARGIN_MM + 196, y_mm, f"{one.withheld}  {one.note}" if one.withheld else "0", size_pt=8)


def _unit(unit: str) -> str:
    """UCUM as people write it."""
    return {"mm[Hg]": "mmHg", "Cel": "°C", "m[g]": "mg"}.get(unit, unit)


def _alarm(at: _Cursor, one: AlarmLine) -> None:
    y_mm = at.room(_LINE_MM) + 3.4
    urgent = one.priority == "high" and not one.technical
    end = "still present" if one.end_us is None else f"to {iso_utc(one.end_us)[11:19]}"
    at.sheets.text(MARGIN_MM, y_mm, iso_utc(one.start_us)[:19].replace("T", " "), size_pt=8)
    at.sheets.text(MARGIN_MM + 36, y_mm, end, size_pt=8)
    kind = f"{one.priority}, technical" if one.technical else one.priority
    at.sheets.text(MARGIN_MM + 60, y_mm, kind, size_pt=8, bold=urgent, colour=RED if urgent else BLACK)
    at.sheets.text(MARGIN_MM + 88, y_mm, one.text, size_pt=8, bold=urgent, width_mm=100)
    at.sheets.text(MARGIN_MM + 190, y_mm, one.fate, size_pt=8, width_mm=at.sheets.paper.width_mm - 190 - 2 * MARGIN_MM)


def _trend(at: _Cursor, trend: Trend, start_us: int, end_us: int) -> None:
    top_mm = at.room(_TREND_MM + 4) + 1
    sheets, left_mm = at.sheets, MARGIN_MM + 30
    wide_mm = sheets.paper.width_mm - left_mm - MARGIN_MM
    lows = [one.low for one in trend.parts if one.low is not None]
    highs = [one.high for one in trend.parts if one.high is not None]
    sheets.text(MARGIN_MM, top_mm + 5, trend.label, size_pt=9, bold=True, width_mm=28)
    sheets.text(MARGIN_MM, top_mm + 9, _unit(trend.unit), size_pt=7, colour=GREY)
    if not lows or not highs:
        sheets.text(left_mm, top_mm + 5, "no number in this time", size_pt=8, colour=GREY)
        return
    least, greatest = min(lows), max(highs)
    if greatest - least < 10**-trend.decimals:
        least, greatest = least - 10**-trend.decimals, greatest + 10**-trend.decimals
    for value, y_mm in ((greatest, top_mm + 2.2), (least, top_mm + _TREND_MM)):
        sheets.text(left_mm - 1.5, y_mm, f"{value:.{trend.decimals}f}", size_pt=7, right=True)

    def x_of(time_us: int) -> float:
        return left_mm + wide_mm * min(1.0, max(0.0, (time_us - start_us) / (end_us - start_us)))

    def y_of(value: float) -> float:
        return top_mm + _TREND_MM * (greatest - value) / (greatest - least)

    for edge_mm in (top_mm, top_mm + _TREND_MM):
        sheets.line(left_mm, edge_mm, left_mm + wide_mm, edge_mm, width_mm=0.1, colour=GREY)
    for one in trend.parts:
        if one.low is None or one.high is None or one.mean is None:
            continue
        x_mm, until_mm = x_of(one.start_us), max(x_of(one.end_us), x_of(one.start_us) + 0.3)
        bar_mm = max(y_of(one.low) - y_of(one.high), 0.3)
        sheets.box(x_mm, y_of(one.high), until_mm - x_mm, bar_mm, (0.75, 0.82, 0.92))
        sheets.line(x_mm, y_of(one.mean), until_mm, y_of(one.mean), width_mm=0.35)
    sheets.text(left_mm, top_mm + _TREND_MM + 2.8, iso_utc(start_us)[11:19], size_pt=6.5, colour=GREY)
    sheets.text(
        left_mm + wide_mm, top_mm + _TREND_MM + 2.8, iso_utc(end_us)[11:19], size_pt=6.5, colour=GREY, right=True
    )


def _strips(sheets: Sheets, report: Report) -> None:
    for window in report.windows:
        at = _Cursor(sheets)
        sheets.text(MARGIN_MM, at.room(5) + 2, window.caption, size_pt=9, bold=True, width_mm=200)
        gains = [gain_mm_mv(lead, window.start_us, window.end_us) if lead.to_scale else 1.0 for lead in report.leads]
        if not report.leads:
            sheets.text(MARGIN_MM, at.room(_LINE_MM) + 3.4, "no samples were stored in this time", size_pt=9)
        together_mm = sum(map(height_mm, report.leads))
        for row_us in range(window.start_us, window.end_us, ROW_US):
            if together_mm <= sheets.bottom_mm - sheets.top_mm - 5:
                at.y_mm = at.room(together_mm)  # the leads of one time on one sheet
            for lead, gain in zip(report.leads, gains, strict=True):
                top_mm = at.room(height_mm(lead))
                draw_row(sheets, lead, row_us, min(row_us + ROW_US, window.end_us), top_mm, gain)
