"""What the lead's analysis gives, as the delineator wants it. Pure."""

from __future__ import annotations

from bedside.signal.delineation import JudgedSecond, WaveInput
from bedside.signal.lead import INTERNAL_HZ, LeadOutput, QualitySecond


def wave_input(
    output: LeadOutput, fs_hz: float, quality: tuple[QualitySecond, ...], retracted: tuple[int, ...]
) -> WaveInput:
    """An output's samples and peaks, in internal samples.

    `quality`: the verdicts that are believed. `retracted`: clean indices of the peaks that were taken back; under
    250 Hz a source index may name either of two.
    """
    ratio = INTERNAL_HZ / fs_hz
    return WaveInput(
        raw_mv=output.raw_mv,
        first=output.clean_first,
        peaks=tuple(peak.clean_index for peak in output.peaks),
        settled=int(output.settled_index * ratio),
        seconds=tuple(
            JudgedSecond(round(one.first_index * ratio), round((one.first_index + one.n_samples) * ratio), one.usable)
            for one in quality
        ),
        retracted=retracted,
    )
