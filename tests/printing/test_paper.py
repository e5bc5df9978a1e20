"""What a ruler finds on the printed sheet: the sheet is rendered to pixels and measured in millimetres."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bedside.printing.content import (
    AlarmLine,
    BeatSign,
    Lead,
    Number,
    Origin,
    Report,
    Span,
    Stretch,
    Trend,
    TrendPart,
    Who,
    Window,
)
from bedside.printing.page import Paper
from bedside.printing.report import report_pdf
from bedside.printing.strip import holes, pieces

pytestmark = pytest.mark.requirement("PRT-001")

T0_US = 1_767_225_600_000_000
PX_MM = 10  # 254 dpi
RATE_HZ = 250.0
Pixels = npt.NDArray[np.int16]


def lead(values: npt.NDArray[np.float64], **more: object) -> Lead:
    stretch = Stretch(start_us=T0_US, rate_hz=RATE_HZ, values=values)
    known: dict[str, object] = {"label": "ECG II", "unit": "mV", "simulated": False, "stretches": (stretch,)}
    return Lead(**{**known, **more})  # type: ignore[arg-type]


def report(*leads: Lead, name: str | None = "Ada Lovelace", seconds: int = 10, **more: object) -> Report:
    end_us = T0_US + seconds * 1_000_000
    known: dict[str, object] = {
        "who": Who(id="ab" * 16, name=name, bed="Bed 4", simulated=False),
        "origin": Origin(title="Monitoring report", printed_us=T0_US, printed_by="nurse A", software="Bedside"),
        "start_us": T0_US,
        "end_us": end_us,
        "leads": leads,
        "windows": (Window(start_us=T0_US, end_us=end_us, caption="All"),),
    }
    return Report(**{**known, **more})  # type: ignore[arg-type]


def impulses(height_mv: float = 1.0) -> npt.NDArray[np.float64]:
    """Ten seconds at 0 mV with one sharp peak at each half second after a whole one."""
    values = np.zeros(round(10 * RATE_HZ))
    values[round(RATE_HZ / 2) :: round(RATE_HZ)] = height_mv
    return values


def rendered(pdf: bytes, folder: Path) -> list[Pixels]:
    """Each sheet as pixels of 0.1 mm: shape (rows, columns, 3)."""
    (folder / "sheet.pdf").write_bytes(pdf)
    command = ["pdftoppm", "-r", str(PX_MM * 25.4), str(folder / "sheet.pdf"), str(folder / "sheet")]
    subprocess.run(command, check=True, capture_output=True)
    return [_ppm(path) for path in sorted(folder.glob("*.ppm"))]


def _ppm(path: Path) -> Pixels:
    data = path.read_bytes()
    magic, columns, rows, _ = data.split(maxsplit=4)[:4]
    assert magic == b"P6"
    n = int(columns) * int(rows) * 3
    return np.frombuffer(data[-n:], np.uint8).reshape(int(rows), int(columns), 3).astype(np.int16)


def words(pdf: bytes, folder: Path) -> str:
    (folder / "words.pdf").write_bytes(pdf)
    done = subprocess.run(["pdftotext", "-layout", str(folder / "words.pdf"), "-"], check=True, capture_output=True)
    return done.stdout.decode()


def is_red(sheet: Pixels) -> npt.NDArray[np.bool_]:
    """The grid's colours."""
    return np.asarray((sheet[..., 0] - sheet[..., 1] > 25) & (sheet[..., 0] > 180), np.bool_)


def is_black(sheet: Pixels) -> npt.NDArray[np.bool_]:
    return np.asarray(sheet.max(axis=2) < 90, np.bool_)


def middles(hit: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Of each run of true values: where its middle is."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], hit.astype(np.int8), [0]))))
    return np.asarray((edges[::2] + edges[1::2] - 1) / 2, np.float64)


def grid_box(sheet: Pixels) -> tuple[int, int, int, int]:
    """Left, right, top, bottom of the grid, in pixels."""
    red = is_red(sheet)
    columns, rows = np.flatnonzero(red.sum(axis=0) > 150), np.flatnonzero(red.sum(axis=1) > 1000)
    return int(columns[0]), int(columns[-1]), int(rows[0]), int(rows[-1])


@pytest.mark.parametrize("paper", list(Paper))
def test_the_grid_is_millimetre_paper(paper: Paper, tmp_path: Path) -> None:
    (sheet,) = rendered(report_pdf(report(lead(np.full(2500, np.nan))), paper), tmp_path)
    assert abs(sheet.shape[1] - paper.width_mm * PX_MM) <= 1
    assert abs(sheet.shape[0] - paper.height_mm * PX_MM) <= 1
    left, right, top, bottom = grid_box(sheet)
    assert abs(right - left - 260 * PX_MM) <= 3  # 10 s of 25 mm, and the calibration mark's 10 mm
    assert abs(bottom - top - 30 * PX_MM) <= 3
    darkness = 255 - sheet[top + 12 : top + 60, left : right + 1, 1].mean(axis=0)  # above the mark; green: low on red
    lines = middles(darkness > darkness.mean())
    heavy = middles(darkness > 0.55 * darkness.max())
    np.testing.assert_allclose(np.diff(lines), PX_MM, atol=1.01)
    np.testing.assert_allclose(np.diff(heavy), 5 * PX_MM, atol=1.01)
    assert len(heavy) == 53


@pytest.mark.parametrize("paper", list(Paper))
def test_a_second_is_25_mm_and_a_millivolt_10_mm(paper: Paper, tmp_path: Path) -> None:
    (sheet,) = rendered(report_pdf(report(lead(impulses(1.0))), paper), tmp_path)
    left, right, top, bottom = grid_box(sheet)
    black = is_black(sheet[top + 20 : bottom - 20, left + 100 : right + 1])
    peaks = middles(black[: black.shape[0] // 2].sum(axis=0) > 30)
    np.testing.assert_allclose(peaks, 25 * PX_MM * (np.arange(10) + 0.5), atol=2.5)
    rows = np.flatnonzero(black.any(axis=1))
    assert abs(rows[-1] - rows[0] - 10 * PX_MM) <= 3


def test_the_calibration_mark_is_one_millivolt_high_and_a_fifth_of_a_second_wide(tmp_path: Path) -> None:
    (sheet,) = rendered(report_pdf(report(lead(np.full(2500, np.nan)))), tmp_path)
    left, _, top, bottom = grid_box(sheet)
    mark = is_black(sheet[top:bottom, left : left + 10 * PX_MM])
    rows = np.flatnonzero(mark.any(axis=1))
    assert abs(rows[-1] - rows[0] - 10 * PX_MM) <= 4
    upright = middles(mark[rows[0] + 10 : rows[-1] - 10].all(axis=0))
    assert np.diff(upright) == pytest.approx(5 * PX_MM, abs=1.01)


def test_the_ruler_in_the_foot_is_50_mm(tmp_path: Path) -> None:
    (sheet,) = rendered(report_pdf(report(lead(impulses()))), tmp_path)
    foot = is_black(
        sheet[round((210 - 12.5) * PX_MM) : round((210 - 11.5) * PX_MM), : 61 * PX_MM]
    )  # the foot's words begin at 63.5 mm
    row = foot[foot.sum(axis=1).argmax()]
    ruler = np.flatnonzero(row)
    assert abs(ruler[-1] - ruler[0] - 50 * PX_MM) <= 4


def test_a_tall_ecg_takes_half_the_scale_and_says_so(tmp_path: Path) -> None:
    pdf = report_pdf(report(lead(impulses(4.0))))
    assert "5 mm/mV (NOT the usual 10)" in words(pdf, tmp_path)
    (sheet,) = rendered(pdf, tmp_path)
    left, _, top, bottom = grid_box(sheet)
    mark = np.flatnonzero(is_black(sheet[top:bottom, left : left + 10 * PX_MM]).any(axis=1))
    assert abs(mark[-1] - mark[0] - 5 * PX_MM) <= 4  # the mark tells the true scale, too


def test_what_leaves_the_row_is_marked_and_never_drawn_over_the_next(tmp_path: Path) -> None:
    values = np.tile(impulses(1.0), 4)
    values[5000] = 40.0  # one artefact in the third row of four: the others keep their scale
    pdf = report_pdf(report(lead(values), seconds=40))
    assert "NOT the usual" not in words(pdf, tmp_path)
    one = rendered(pdf, tmp_path)[0]
    vivid = (one[..., 0] > 150) & (one[..., 1] < 60)
    assert vivid.sum() > 20
    for path in tmp_path.glob("*.ppm"):
        path.unlink()
    plain = rendered(report_pdf(report(lead(np.tile(impulses(1.0), 4)), seconds=40)), tmp_path)[0]
    assert ((plain[..., 0] > 150) & (plain[..., 1] < 60)).sum() == 0  # the mark is not there without cause


def test_missing_samples_break_the_trace_and_are_grey(tmp_path: Path) -> None:
    values = np.full(2500, 0.4)
    values[500:1250] = np.nan  # 2 s to 5 s
    one = lead(values)
    (gap,) = holes(one, T0_US, T0_US + 10_000_000)
    assert gap == pytest.approx((2.0, 5.0), abs=0.01)
    pdf = report_pdf(report(one))
    assert "no samples" in words(pdf, tmp_path)
    (sheet,) = rendered(pdf, tmp_path)
    left, right, top, bottom = grid_box(sheet)
    middle = (top + bottom) // 2
    drawn = is_black(sheet[middle - 4 : middle + 5, left + 100 : right + 1]).any(axis=0)
    assert not drawn[2 * 250 + 90 : 5 * 250 - 5].any()  # after the words
    assert drawn[: 2 * 250 - 5].mean() > 0.98
    assert drawn[5 * 250 + 5 : 10 * 250 - 20].mean() > 0.98


def test_runs_that_overlap_or_lie_outside_are_cut_to_the_range() -> None:
    stretch = Stretch(start_us=T0_US - 1_000_000, rate_hz=RATE_HZ, values=np.arange(3000.0))
    ((at_s, values),) = pieces(lead(np.zeros(0), stretches=(stretch,)), T0_US, T0_US + 2_000_000)
    assert at_s[0] == 0.0
    assert values[0] == 250.0
    assert values.size == 500
    assert holes(lead(np.zeros(0), stretches=()), T0_US, T0_US + 1_000_000) == [(0.0, 1.0)]


def test_the_sheet_says_who_what_and_from_where(tmp_path: Path) -> None:
    alarm = AlarmLine(
        start_us=T0_US, end_us=None, priority="high", technical=False,
        text="Ventricular tachycardia, 182/min", fate="active, not acknowledged",
    )  # fmt: skip
    number = Number(
        label="HR", unit="/min", decimals=0, newest=None, newest_us=T0_US, low=60.0, high=182.0, mean=90.0,
        count=9, withheld=1, note="noise",
    )  # fmt: skip
    one = lead(
        impulses(),
        beats=(BeatSign(time_us=T0_US + 500_000, symbol="V"), BeatSign(time_us=T0_US + 1_500_000, symbol="?")),
        spans=(Span(start_us=T0_US, end_us=T0_US + 4_000_000, text="VT", warning=True),),
    )
    trend = Trend(
        label="HR", unit="/min", decimals=0,
        parts=(TrendPart(start_us=T0_US, end_us=T0_US + 1_000_000, low=60.0, high=70.0, mean=65.0),),
    )  # fmt: skip
    origin = Origin(
        title="Monitoring report", printed_us=T0_US, printed_by="nurse A", software="Bedside 0.1.0",
        models=("1234abcd",), log_head="17 " + "ab" * 32, act="act-7",
    )  # fmt: skip
    pdf = report_pdf(report(one, alarms=(alarm,), numbers=(number,), trends=(trend,), origin=origin))
    said = words(pdf, tmp_path)
    for expected in (
        "Ada Lovelace", "ab" * 16, "Bed 4", "Ventricular tachycardia, 182/min", "not acknowledged", "still present",
        "withheld", "25 mm/s", "10 mm/mV", "no filter", "VT", "nurse A", "Bedside 0.1.0", "1234abcd", "log head 17",
        "act-7", "must measure 50 mm", "2026-01-01 00:00:00",
    ):  # fmt: skip
        assert expected in said, expected


def test_who_may_not_see_the_name_gets_the_surrogate_alone(tmp_path: Path) -> None:
    pdf = report_pdf(report(lead(impulses()), name=None))
    assert "name withheld from this reader" in words(pdf, tmp_path)
    assert "Lovelace" not in words(pdf, tmp_path)
    assert "Lovelace" in words(report_pdf(report(lead(impulses()))), tmp_path)  # the same search finds it


def test_a_letter_that_the_font_lacks_is_seen_to_be_missing(tmp_path: Path) -> None:
    assert "Ada ?" in words(report_pdf(report(lead(impulses()), name="Ada \U000e1000")), tmp_path)


def test_the_same_values_give_the_same_bytes() -> None:
    assert report_pdf(report(lead(impulses()))) == report_pdf(report(lead(impulses())))


def test_leads_of_one_time_stand_on_one_sheet(tmp_path: Path) -> None:
    pdf = report_pdf(report(*(lead(np.tile(impulses(), 3), label=f"ECG {at}") for at in range(3)), seconds=30))
    (tmp_path / "leads.pdf").write_bytes(pdf)
    for number in (1, 2, 3):
        command = ["pdftotext", "-f", str(number), "-l", str(number), str(tmp_path / "leads.pdf"), "-"]
        said = subprocess.run(command, check=True, capture_output=True).stdout.decode()
        assert [said.count(f"ECG {at}") for at in range(3)] == [1, 1, 1]


def test_nothing_to_print_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        report_pdf(report(windows=()))
    with pytest.raises(ValueError, match="ends before"):
        report_pdf(report(lead(impulses()), seconds=0))
