"""Recordings of others as streams of counts: WFDB records and EDF files, read piece by piece.

The edge to the file system. What is wrong with a file is a `SetupError` that says which file, what, and what to do;
a signal file that ends early gives what it holds and then says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bedside.core.codes import StreamKind
from bedside.core.errors import SetupError
from bedside.core.samples import MISSING, Counts

ECG_NAMES = (
    "MLIII",
    "MLII",
    "MLI",
    "III",
    "II",
    "I",
    "AVR",
    "AVL",
    "AVF",
    "MCL",
    "CC5",
    "CM5",
    "D3",
    "D4",
    "ECG",
    "EKG",
)
PLETH_NAMES = ("PLETH", "PPG")
RESPIRATION_NAMES = ("RESP",)
PRESSURE_NAMES = ("ABP", "ART")  # arterial: it pulses with the heart; others (PAP, CVP) are not watched
NOT_ECG_NAMES = ("RESP", "EMG", "EEG", "EOG", "ABP", "ART", "PAP", "CVP", "BP", "SPO2", "ACC", "MARK", "EVENT")
PRIMARY = ("MLII", "II")
MV_PER_UNIT = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "v": 1e3}
READ_S = 60.0  # read from the file in pieces of this length


@dataclass(frozen=True, slots=True)
class Channel:
    """One signal of a recording. Its samples are `counts * unit_per_count` in `unit`."""

    number: int
    name: str
    kind: StreamKind | None  # None: nothing that Bedside watches
    unit: str
    unit_per_count: float
    rate_hz: float


@dataclass(frozen=True, eq=False)
class Recording:
    """An open recording. `n_samples` counts the samples of `channels[0]`'s rate that the header promises."""

    name: str
    path: Path
    channels: tuple[Channel, ...]
    n_samples: int
    duration_s: float
    _read: Callable[[Channel, int, int], Counts]

    def ecg(self) -> tuple[Channel, ...]:
        """The ECG leads, in the recording's order."""
        return tuple(one for one in self.channels if one.kind is StreamKind.ECG)

    def primary(self) -> Channel:
        """The lead whose beats count: MLII or II by name, else the first. Raises `SetupError` when there is no ECG."""
        leads = self.ecg()
        for wanted in PRIMARY:
            for one in leads:
                if _plain(one.name) == wanted:
                    return one
        if not leads:
            names = ", ".join(one.name for one in self.channels) or "none"
            raise SetupError(
                f"{self.path}: no ECG lead among its channels ({names})",
                hint="name the channel that holds an ECG with --lead NAME",
            )
        return leads[0]

    def lead(self, name: str) -> Channel:
        """The channel called `name`, taken for an ECG. Raises `SetupError` when there is none, or it is no ECG."""
        for one in self.channels:
            if one.name == name or _plain(one.name) == _plain(name):
                if one.unit == "mV" and one.kind in (StreamKind.ECG, None):
                    return Channel(one.number, one.name, StreamKind.ECG, "mV", one.unit_per_count, one.rate_hz)
                raise SetupError(
                    f"{self.path}: channel {one.name!r} is in {one.unit or 'no unit'} and no ECG",
                    hint="choose one of: "
                    + (", ".join(lead.name for lead in self.ecg()) or "this recording has no ECG"),
                )
        raise SetupError(
            f"{self.path}: no lead {name!r}", hint="choose one of: " + ", ".join(one.name for one in self.channels)
        )

    def samples(self, channel: Channel) -> int:
        """How many samples the header promises for `channel`."""
        return round(self.n_samples * channel.rate_hz / self.channels[0].rate_hz)

    def read(self, channel: Channel, first: int, n: int) -> tuple[Counts, str | None]:
        """Up to `n` samples from `first`, int32, `MISSING` where the recording has none, and why it are fewer.

        None: all that were asked for, or the promised end.
        """
        n = min(n, self.samples(channel) - first)
        if n <= 0:
            return np.empty(0, np.int32), None
        try:
            counts = self._read(channel, first, n)
            if counts.size == n:
                return counts, None
        except (ValueError, OSError, IndexError) as error:
            if isinstance(error, OSError) and not isinstance(error, EOFError):
                return np.empty(0, np.int32), f"{type(error).__name__}: {error.strerror or error}"
            counts = self._read_what_is_there(channel, first, n)
        promised = self.samples(channel) / channel.rate_hz
        held = (first + counts.size) / channel.rate_hz
        return counts, f"the signal file holds {held:.1f} s of the {promised:.1f} s that the header promises"

    def _read_what_is_there(self, channel: Channel, first: int, n: int) -> Counts:
        """The longest readable beginning of a piece that cannot be read whole: by bisection."""
        good, bad, best = 0, n, np.empty(0, np.int32)
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                counts = self._read(channel, first, middle)
            except (ValueError, OSError, IndexError):
                counts = np.empty(0, np.int32)
            if counts.size == middle:
                good, best = middle, counts
            else:
                bad = middle
        return best


def open_recording(path: str | Path) -> Recording:
    """Open a WFDB record (with or without `.hea`) or an EDF file. Raises `SetupError`."""
    path = Path(path)
    if path.suffix.lower() in (".edf", ".bdf"):
        return _open_edf(path)
    return _open_wfdb(path.with_suffix("") if path.suffix == ".hea" else path)


def kind_of(name: str, unit: str) -> StreamKind | None:
    """What a channel measures, by its name first and its unit second; None: nothing that Bedside watches."""
    plain = _plain(name)
    volts = unit.lower() in MV_PER_UNIT
    if any(plain.startswith(one) for one in PLETH_NAMES):
        return StreamKind.PLETH
    if plain in RESPIRATION_NAMES:
        return StreamKind.RESPIRATION
    if plain in PRESSURE_NAMES and unit.lower() == "mmhg":
        return StreamKind.PRESSURE
    if any(one in plain for one in NOT_ECG_NAMES):
        return None
    if plain in ECG_NAMES or plain.startswith(("ECG", "EKG", "ML", "MCL", "V")) or volts:
        return StreamKind.ECG if volts or not unit else None
    return None


def _plain(name: str) -> str:
    """A lead's bare name: `ECG II`, `Lead II` and `ii` are `II`."""
    plain = name.strip().upper()
    for prefix in ("ECG ", "EKG ", "LEAD "):
        if plain.startswith(prefix) and len(plain) > len(prefix):
            plain = plain[len(prefix) :].strip()
    return plain


# ---------------------------------------------------------------------- WFDB


def _open_wfdb(base: Path) -> Recording:
    import wfdb
    from wfdb.io._signal import INVALID_SAMPLE_VALUE

    header_path = base.with_name(base.name + ".hea")
    try:
        header: Any = wfdb.rdheader(str(base))
    except FileNotFoundError as error:
        raise SetupError(
            f"{header_path}: no such record",
            hint="give the path of a .hea file (with or without .hea) or of an .edf file",
        ) from error
    except Exception as error:  # wfdb raises whatever a malformed line leads to
        raise SetupError(
            f"{header_path}: not a WFDB header ({type(error).__name__}: {error})", hint="get the record again"
        ) from error
    if not header.n_sig or not header.sig_name:
        raise SetupError(f"{header_path}: a record without signals", hint="give a record that has an ECG lead")
    if not header.sig_len or not header.fs:
        raise SetupError(f"{header_path}: no length or rate in the header", hint="get the record again")
    for file_name in sorted(set(header.file_name or [])):
        if not (base.parent / file_name).is_file():
            raise SetupError(
                f"{header_path}: its signal file {file_name} is missing",
                hint=f"put {file_name} beside the header",
            )
    every = list(header.samps_per_frame or [1] * header.n_sig)
    channels = tuple(_wfdb_channel(header, number) for number in range(header.n_sig))

    def read(channel: Channel, first: int, n: int) -> Counts:
        if max(every) == 1:
            record: Any = wfdb.rdrecord(
                str(base), sampfrom=first, sampto=first + n, channels=[channel.number], physical=False
            )
            raw = record.d_signal[:, 0]
            counts: Counts = np.asarray(raw - header.baseline[channel.number], dtype=np.int32)
            invalid = INVALID_SAMPLE_VALUE.get(header.fmt[channel.number])
            if invalid is not None:
                counts[raw == invalid] = MISSING
            return counts
        record = wfdb.rdrecord(str(base), sampfrom=first, sampto=first + n, channels=[channel.number])
        values = record.p_signal[:, 0] * MV_PER_UNIT.get((header.units[channel.number] or "mv").lower(), 1.0)
        return _counted(values / channel.unit_per_count)

    return Recording(base.name, base, channels, int(header.sig_len), header.sig_len / header.fs, read)


def _wfdb_channel(header: Any, number: int) -> Channel:
    name, unit = str(header.sig_name[number]), str(header.units[number] or "mV")
    kind = kind_of(name, unit)
    gain = float(header.adc_gain[number] or 200.0)  # 0 means: not calibrated; WFDB's own default then
    scale = MV_PER_UNIT.get(unit.lower())
    return Channel(
        number=number,
        name=name,
        kind=kind,
        unit="mV" if scale is not None else unit,
        unit_per_count=(scale if scale is not None else 1.0) / gain,
        rate_hz=float(header.fs),
    )


def _counted(counts: np.ndarray[Any, np.dtype[np.float64]]) -> Counts:
    seen = np.isfinite(counts)
    rounded: Counts = np.rint(np.where(seen, counts, 0.0)).astype(np.int32)
    rounded[~seen] = MISSING
    return rounded


# ---------------------------------------------------------------------- EDF


def _open_edf(path: Path) -> Recording:
    import edfio

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            edf = edfio.read_edf(path) if path.suffix.lower() == ".edf" else edfio.read_bdf(path)
    except FileNotFoundError as error:
        raise SetupError(f"{path}: no such file", hint="give the path of an .edf file or a WFDB record") from error
    except Exception as error:  # edfio raises whatever a malformed header leads to
        raise SetupError(
            f"{path}: not an EDF file ({type(error).__name__}: {error})", hint="export the recording again"
        ) from error
    signals: Sequence[Any] = edf.signals
    if not signals:
        raise SetupError(f"{path}: an EDF file without signals", hint="give a recording that has an ECG lead")
    channels = tuple(_edf_channel(signal, number) for number, signal in enumerate(signals))

    def read(channel: Channel, first: int, n: int) -> Counts:
        signal = signals[channel.number]
        return np.asarray(signal.digital[first : first + n], dtype=np.int32) - _edf_zero(signal)

    n_samples = _edf_records_promised(path, edf.num_data_records) * signals[0].samples_per_data_record
    return Recording(path.stem, path, channels, n_samples, n_samples / channels[0].rate_hz, read)


def _edf_channel(signal: Any, number: int) -> Channel:
    unit = str(signal.physical_dimension)
    scale = MV_PER_UNIT.get(unit.lower())
    per_count = (signal.physical_max - signal.physical_min) / (signal.digital_max - signal.digital_min)
    return Channel(
        number=number,
        name=str(signal.label),
        kind=kind_of(str(signal.label), unit),
        unit="mV" if scale is not None else unit,
        unit_per_count=per_count * (scale if scale is not None else 1.0),
        rate_hz=float(signal.sampling_frequency),
    )


def _edf_records_promised(path: Path, present: int) -> int:
    """What the header says; a file that was cut holds fewer, one still being written says -1."""
    with path.open("rb") as file:
        text = file.read(244)[236:244].strip()
    promised = int(text) if text.lstrip(b"-").isdigit() else -1
    return promised if promised >= 0 else present


def _edf_zero(signal: Any) -> int:
    """The digital value that stands for 0, as near as whole numbers allow."""
    per_count = (signal.physical_max - signal.physical_min) / (signal.digital_max - signal.digital_min)
    return int(np.rint(signal.digital_min - signal.physical_min / per_count))
