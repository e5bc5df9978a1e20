"""How a rhythm model's numbers become its int8 input: a fixed table, so the tensor depends on no model or runtime.

Middle and spread (half the distance from the 10th to the 90th percentile, at least half the standard deviation) over
the Challenge 2017 strips at hand.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from bedside.models.rhythm_features import NAMES, Int8s
from bedside.models.windows import Floats

INPUT_STEPS: Final = 127
STEPS_A_SPREAD: Final = 32
_SCALE: Final = {
    "rr": (-0.0606, 0.348),
    "rr_shortest": (-0.407, 0.556),
    "rr_longest": (0.209, 0.35),
    "rr_spread": (-1.39, 1.41),
    "rr_jumps": (0.259, 0.39),
    "rr_early": (0.0488, 0.139),
    "rr_late": (0, 0.117),
    "own_entropy": (0.325, 0.765),
    "own_near": (0.56, 0.391),
    "own_jumps_10": (0.255, 0.389),
    "own_jumps_5": (0.395, 0.446),
    "own_steady": (0.464, 0.444),
    "own_step": (-3.23, 1.55),
    "own_rms_step": (-1.61, 1.58),
    "own_lag": (-3.44, 1.43),
    "own_turns": (0.517, 0.214),
    "own_lag1": (0.0867, 0.432),
    "own_lag2": (0.0264, 0.295),
    "own_early": (0.0139, 0.0769),
    "own_count": (0.154, 0.408),
    "share_v": (0, 0.05),
    "share_s": (0, 0.05),
    "share_q": (0.0256, 0.05),
    "qrs_likeness": (0.989, 0.05),
    "qrs_least_likeness": (0.959, 0.27),
    "qrs_others": (0.0169, 0.128),
    "p_coherence": (0.165, 0.374),
    "t_coherence": (0.655, 0.453),
    "p_size": (-2.51, 0.756),
    "p_over_noise": (1.2, 0.962),
    "p_sign": (0.464, 0.827),
    "p_place": (0.562, 0.24),
    "p_noise": (-3.7, 0.764),
    "t_size": (-1.32, 0.694),
    "qrs_width": (0.341, 0.0795),
    "qrs_size": (-0.0878, 0.516),
    "qrs_scatter": (-2.75, 0.632),
    "qrs_pole": (0.423, 0.563),
    "up_2": (0.0667, 0.105),
    "down_2": (0.069, 0.103),
    "up_5": (0.0286, 0.0588),
    "down_5": (0.0312, 0.0667),
    "up_10": (0, 0.0625),
    "down_10": (0.0208, 0.0741),
    "up_20": (0.0714, 0.145),
    "down_20": (0.0714, 0.154),
    "early_beats": (2, 5),
    "early_share": (0.06, 0.128),
    "late_share": (0.0286, 0.113),
    "early_paused": (0, 2.5),
    "longest": (0.0198, 0.376),
    "shortest": (-0.713, 0.591),
    "slow_share": (0, 0.0672),
    "fast_share": (0.0571, 0.375),
    "local_spread": (0.0605, 0.092),
    "places": (0.471, 0.389),
    "step_places": (0.53, 0.418),
    "likeness_spread": (0.081, 0.19),
    "unlike_beats": (1, 3.5),
    "half_alike_beats": (2, 7.5),
    "size_spread": (0.131, 0.158),
    "second_least_likeness": (0.84, 0.671),
    "early_unlike": (0, 2),
    "early_alike": (1, 4.5),
    "p_votes": (0.967, 0.458),
    "p_votes_sum": (1.07, 0.746),
    "t_votes": (1, 0.2),
    "p_seen": (1, 0.5),
    "pr": (0.16, 0.032),
    "qrs": (0.0982, 0.0174),
    "qtc": (0.412, 0.0471),
    "st": (-0.0181, 0.125),
    "p_height": (0.0603, 0.0671),
    "p_alike": (0.752, 0.255),
    "p_alike_spread": (0.313, 0.355),
    "p_missing": (0.0303, 0.189),
    "rest_0_3": (-0.432, 0.275),
    "rest_3_9": (-1.97, 0.714),
    "rest_9_20": (-3.13, 0.972),
    "rest_20_38": (-4.29, 0.87),
    "waves_size": (-2.96, 1.05),
    "waves_peak": (0.367, 0.135),
    "waves_hz": (0.461, 0.109),
    "rest_size": (-2.34, 0.966),
    "roughness": (-6.37, 0.629),
    "kurtosis": (2.41, 0.761),
    "tallest_second": (0.33, 0.638),
    "lowest_second": (-0.275, 0.534),
    "usable": (1, 0.05),
    "seen": (1, 0.05),
    "beats": (0.0822, 0.32),
}
_MIDDLE: Final = np.array([_SCALE[name][0] for name in NAMES])
_SPREAD: Final = np.array([_SCALE[name][1] for name in NAMES])


def quantised(numbers: Floats) -> Int8s:
    """Int8 input for one row or rows of `describe`: 32 steps a spread, halves to even, held in -127..127."""
    steps = np.rint((numbers - _MIDDLE) / _SPREAD * STEPS_A_SPREAD)
    held: Int8s = np.clip(steps, -INPUT_STEPS, INPUT_STEPS).astype(np.int8)
    return held
