"""The printing room: the one way to PDF. Strips at 25 mm/s and 10 mm/mV on millimetre paper, and reports.

`content` is what is to be printed, as plain values; `report.report_pdf` makes the bytes. It reads no record, no
clock and no setting: whoever calls it has decided what may be seen, and by whom.
"""
