"""Recordings of others: what is an ECG, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np
import pytest
from tests.evaluate.evaluate_helpers import toy_mv, write_record

from bedside.core.codes import StreamKind
from bedside.core.errors import SetupError
from bedside.core.samples import MISSING
from bedside.evaluate.recordings import kind_of, open_recording

pytestmark = pytest.mark.requirement("EVL-003")


@pytest.mark.parametrize(
    ("name", "unit", "kind"),
    [
        ("MLII", "mV", StreamKind.ECG),
        ("V5", "mV", StreamKind.ECG),
        ("ECG II", "uV", StreamKind.ECG),
        ("aVR", "mV", StreamKind.ECG),
        ("PLETH", "NU", StreamKind.PLETH),
        ("PPG-1", "mV", StreamKind.PLETH),
        ("RESP", "mV", StreamKind.RESPIRATION),
        ("ABP", "mmHg", StreamKind.PRESSURE),
        ("EMG chin", "uV", None),
        ("II", "mmHg", None),
    ],
)
def test_a_channel_is_known_by_its_name_and_unit(name: str, unit: str, kind: StreamKind | None) -> None:
    assert kind_of(name, unit) is kind


def test_a_wfdb_record_opens_with_and_without_its_extension_and_reads_exactly(tmp_path: Path) -> None:
    ecg_mv, fs_hz = toy_mv(20)
    base = write_record(tmp_path, "toy", np.column_stack([ecg_mv / 2, ecg_mv]), fs_hz, ["V1", "MLII"])
    for path in (base, base.with_suffix(".hea")):
        recording = open_recording(path)
        channel = recording.primary()
        assert (channel.name, channel.rate_hz, recording.n_samples) == ("MLII", 360.0, 7200)
        counts, fault = recording.read(channel, 1000, 500)
        assert fault is None
        np.testing.assert_array_equal(counts, np.rint(ecg_mv[1000:1500] * 1000))
        assert recording.read(channel, 7100, 500)[0].size == 100


def test_a_missing_sample_stays_missing(tmp_path: Path) -> None:
    ecg_mv = np.zeros(1000)
    base = write_record(tmp_path, "hole", ecg_mv, 250.0, ["II"])
    raw = np.fromfile(base.with_suffix(".dat"), np.int16)
    raw[100:200] = -32768
    raw.tofile(base.with_suffix(".dat"))
    counts, _ = open_recording(base).read(open_recording(base).primary(), 0, 1000)
    assert set(np.flatnonzero(counts == MISSING)) == set(range(100, 200))


def test_an_edf_file_reads_in_millivolts(tmp_path: Path) -> None:
    ecg_mv, fs_hz = toy_mv(20)
    signals = [
        edfio.EdfSignal(np.zeros(20), 1, label="SpO2", physical_dimension="%", physical_range=(0, 100)),
        edfio.EdfSignal(ecg_mv * 1000, fs_hz, label="ECG II", physical_dimension="uV"),
    ]
    edfio.Edf(signals).write(tmp_path / "toy.edf")
    recording = open_recording(tmp_path / "toy.edf")
    channel = recording.primary()
    assert (channel.name, channel.unit, recording.samples(channel)) == ("ECG II", "mV", 7200)
    counts, fault = recording.read(channel, 360, 720)
    assert fault is None
    np.testing.assert_allclose(counts * channel.unit_per_count, ecg_mv[360:1080], atol=2 * channel.unit_per_count)


@pytest.mark.parametrize("share", [0.5, 0.91])
def test_a_short_signal_file_gives_what_it_holds_and_says_so(tmp_path: Path, share: float) -> None:
    ecg_mv, fs_hz = toy_mv(60)
    base = write_record(tmp_path, "short", ecg_mv, fs_hz, ["MLII"])
    data = base.with_suffix(".dat").read_bytes()
    kept = round(len(data) * share) + 1  # inside a sample
    base.with_suffix(".dat").write_bytes(data[:kept])
    recording = open_recording(base)
    counts, fault = recording.read(recording.primary(), 0, 21600)
    assert counts.size == kept // 2
    assert fault is not None
    assert "60.0 s that the header promises" in fault


def test_a_cut_edf_file_gives_what_it_holds_and_says_so(tmp_path: Path) -> None:
    ecg_mv, fs_hz = toy_mv(60)
    edfio.Edf([edfio.EdfSignal(ecg_mv, fs_hz, label="II", physical_dimension="mV")]).write(tmp_path / "cut.edf")
    data = (tmp_path / "cut.edf").read_bytes()
    (tmp_path / "cut.edf").write_bytes(data[: len(data) // 2])
    recording = open_recording(tmp_path / "cut.edf")
    counts, fault = recording.read(recording.primary(), 0, 21600)
    assert 9000 < counts.size < 11000
    assert fault is not None


def test_what_is_wrong_with_a_recording_is_said_with_what_to_do(tmp_path: Path) -> None:
    ecg_mv, fs_hz = toy_mv(5)
    base = write_record(tmp_path, "fine", ecg_mv, fs_hz, ["MLII"])
    with pytest.raises(SetupError, match=r"nowhere\.hea: no such record"):
        open_recording(tmp_path / "nowhere")
    with pytest.raises(SetupError, match="no such file"):
        open_recording(tmp_path / "nowhere.edf")
    with pytest.raises(SetupError, match="no lead 'V9'") as unknown:
        open_recording(base).lead("V9")
    assert "MLII" in unknown.value.hint
    write_record(tmp_path, "pressure", ecg_mv, fs_hz, ["ABP"], ["mmHg"])
    with pytest.raises(SetupError, match="no ECG lead"):
        open_recording(tmp_path / "pressure").primary()
    with pytest.raises(SetupError, match="is in mmHg"):
        open_recording(tmp_path / "pressure").lead("ABP")
    base.with_suffix(".dat").unlink()
    with pytest.raises(SetupError, match=r"signal file fine\.dat is missing"):
        open_recording(base)


@pytest.mark.parametrize("text", ["", "garbage", "x 1 360", "x 1 360 100\nx.dat nonsense", "x 0 360 100", "\0\1\2"])
def test_a_broken_header_is_a_setup_error_and_nothing_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.hea").write_text(text)
    (tmp_path / "x.dat").write_bytes(b"\0" * 400)
    with pytest.raises(SetupError):
        recording = open_recording(tmp_path / "x")
        recording.read(recording.primary(), 0, 100)
    (tmp_path / "x.edf").write_text(text)
    with pytest.raises(SetupError):
        open_recording(tmp_path / "x.edf")
