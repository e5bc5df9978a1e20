"""Heart rate variability against the definitions, and against intervals whose variability is known."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from bedside.signal import hrv
from bedside.signal.hrv import HrvState, Variability

pytestmark = pytest.mark.requirement("SIG-004")


def followed(rr_s: list[float], normal: list[bool] | None = None) -> list[Variability]:
    state, at, found = HrvState(), 0.0, []
    for k, one in enumerate(rr_s):
        at += one
        ok = normal[k] if normal is not None else True
        state, closed = hrv.step(state, round(at * hrv.FS_HZ), one, ok)
        state = pickle.loads(pickle.dumps(state))
        found += [closed] if closed is not None else []
    return found


def modulated(hz: float, depth_s: float, until_s: float, mean_s: float = 0.8) -> list[float]:
    rr_s, at = [], 0.0
    while at < until_s:
        one = mean_s + depth_s * math.sin(2 * math.pi * hz * at)
        rr_s.append(one)
        at += one
    return rr_s


def test_time_measures_are_the_definitions() -> None:
    rr_s = (0.8 + 0.04 * np.random.default_rng(4).standard_normal(420).clip(-1.5, 1.5)).tolist()
    (found,) = followed(rr_s)
    nn_ms = 1000 * np.array(rr_s[: found.nn])
    steps_ms = np.diff(nn_ms)
    assert found.reason is None
    assert found.accepted == 1.0
    assert found.sdnn_ms == pytest.approx(math.sqrt(((nn_ms - nn_ms.mean()) ** 2).sum() / (nn_ms.size - 1)))
    assert found.rmssd_ms == pytest.approx(math.sqrt((steps_ms**2).mean()))
    assert 0.0 < (np.abs(steps_ms) > 50).mean() < 1.0
    assert found.pnn50 == pytest.approx((np.abs(steps_ms) > 50).mean())


@pytest.mark.parametrize(("hz", "band"), [(0.1, "lf_ms2"), (0.25, "hf_ms2")])
def test_a_sine_of_known_depth_has_its_power_in_its_own_band(hz: float, band: str) -> None:
    (found,) = followed(modulated(hz, 0.04, 310))
    power, other = getattr(found, band), getattr(found, "hf_ms2" if band == "lf_ms2" else "lf_ms2")
    assert power == pytest.approx(40.0**2 / 2, rel=0.12)
    assert other < 0.05 * power


def test_ectopic_beats_and_their_pauses_do_not_count() -> None:
    rr_s = modulated(0.1, 0.02, 310)
    clean = followed(rr_s)[0]
    normal = [True] * len(rr_s)
    for k in range(20, len(rr_s) - 2, 40):
        rr_s[k], rr_s[k + 1], normal[k], normal[k + 1] = 0.5, 1.1, False, False
    with_ectopics = followed(rr_s, normal)[0]
    assert with_ectopics.sdnn_ms == pytest.approx(clean.sdnn_ms, rel=0.1)
    assert with_ectopics.accepted < 1.0
    wrong = followed(rr_s)[0]  # negative control: called normal, the jump rule alone must hold them back
    assert wrong.sdnn_ms == pytest.approx(clean.sdnn_ms, rel=0.1)


def test_where_too_little_is_normal_nothing_is_given_and_it_is_said() -> None:
    rr_s = modulated(0.1, 0.02, 310)
    (found,) = followed(rr_s, [k % 3 == 0 for k in range(len(rr_s))])
    assert (found.sdnn_ms, found.lf_ms2, found.lf_hf) == (None, None, None)
    assert "cannot_judge" in found.evidence()
    assert "sdnn_ms" not in found.evidence()


def test_memory_is_bounded_by_one_window() -> None:
    state, at = HrvState(), 0.0
    for _ in range(20_000):
        at += 0.31
        state, _ = hrv.step(state, round(at * hrv.FS_HZ), 0.31, True)
        assert len(state.nn_s) <= hrv.NN_MAX
