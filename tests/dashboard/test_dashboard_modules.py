"""The pages' own modules that do arithmetic, run in the browser that will run them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from tests.dashboard.fake_gateway import FakeGateway

from bedside.dashboard.serve import Dashboard
from bedside.settings import Home


@pytest.fixture
def page(browser: Browser, box: tuple[Home, FakeGateway, Dashboard]) -> Iterator[Page]:
    context = browser.new_context()
    made = context.new_page()
    made.goto(f"http://127.0.0.1:{box[2].port}/sign-in")
    yield made
    context.close()


def run(page: Page, modules: str, body: str) -> Any:
    """What `body` returns, with the names that the modules export."""
    imports = "; ".join(f"Object.assign(m, await import('/static/js/{name}.js'))" for name in modules.split())
    return page.evaluate(f"async () => {{ const m = {{}}; {imports}; {body} }}")


WAVE = """
    const wave = (first, count, startMs = first * 8, value = 1) =>
        ({ rateHz: 125, firstIndex: first, startMs, values: new Float32Array(count).fill(value) });
"""


def test_a_ring_never_grows_and_keeps_the_newest(page: Page) -> None:
    body = (
        WAVE
        + """
        const ring = new m.WaveRing();
        const size = ring.times.length;
        for (let i = 0; i < 2000; i += 1) ring.add(wave(i * 13, 13));
        return [size === ring.times.length, ring.count, ring.lastMs, ring.after(ring.lastMs - 80) === ring.count - 10];
    """
    )
    assert run(page, "trace", body) == [True, 26000, 25999 * 8, True]


def test_samples_sent_twice_are_taken_once_and_a_gap_stays_a_gap(page: Page) -> None:
    body = (
        WAVE
        + """
        const ring = new m.WaveRing();
        ring.add(wave(0, 10)); ring.add(wave(0, 10)); ring.add(wave(5, 10));
        const once = ring.count;
        ring.add(wave(115, 10));
        return [once, ring.count, ring.times[15] - ring.times[14]];
    """
    )
    assert run(page, "trace", body) == [15, 25, 101 * 8]


def test_small_corrections_of_the_wearables_clock_are_no_jumps_in_the_line(page: Page) -> None:
    body = (
        WAVE
        + """
        const ring = new m.WaveRing();
        for (let i = 0; i < 100; i += 1) ring.add(wave(i * 10, 10, i * 80 + (i % 2 ? 20 : -20)));
        let worst = 0;
        const step = (n) => ring.times[n] - ring.times[n - 1];
        for (let n = 1; n < ring.count; n += 1) worst = Math.max(worst, Math.abs(step(n) - 8));
        return [ring.count, worst < 3];
    """
    )
    assert run(page, "trace", body) == [1000, True]


def test_a_burst_that_catches_up_does_not_move_the_boxs_clock(page: Page) -> None:
    body = """
        const clock = new m.BoxClock();
        for (let i = 0; i < 120; i += 1) clock.observe(i * 100, 12000 + i);  // 12 s of history at once
        const start = clock.now(12200);
        for (let i = 120; i < 400; i += 1) clock.observe(i * 100, i * 100 + 30 + (i % 7) * 10);
        return [Math.abs(start - 11900) < 300, clock.rate, Math.abs(clock.now(40000) - 39970) < 5];
    """
    assert run(page, "clock", body) == [True, 1, True]


def test_a_box_that_runs_ten_times_as_fast_is_followed(page: Page) -> None:
    body = """
        const clock = new m.BoxClock();
        for (let i = 0; i < 400; i += 1) clock.observe(i * 100, i * 10 + (i % 3));
        return [Math.abs(clock.rate - 10) < 0.5, Math.abs(clock.now(4000) - 40000) < 200];
    """
    assert run(page, "clock", body) == [True, True]


def test_after_a_sleep_the_clock_is_right_within_two_seconds(page: Page) -> None:
    body = """
        const clock = new m.BoxClock();
        for (let i = 0; i < 200; i += 1) clock.observe(i * 100, i * 100 + 30);
        for (let i = 200; i < 225; i += 1) clock.observe(i * 100, i * 100 + 60030);  // the box's clock was set back
        return Math.abs(clock.now(82500) - 22470);
    """
    assert run(page, "clock", body) < 5


def test_the_delay_is_as_long_as_the_blocks_need_and_then_constant(page: Page) -> None:
    body = """
        const playout = new m.Playout();
        const seen = new Set();
        for (let block = 0; block < 200; block += 1) {
            playout.observe(block * 560 + 600, block * 560);  // a block of 0.56 s, 40 ms after its end
            if (block > 80) seen.add(playout.delayMs);
        }
        return [...seen];
    """
    delays = run(page, "clock", body)
    assert len(delays) == 1
    assert 600 <= delays[0] <= 750


def test_evidence_is_told_in_words_and_units(page: Page) -> None:
    body = """
        return [m.evidenceRow("mean_rate_bpm", 148.26), m.evidenceRow("rule", "ventricular_tachycardia"),
            m.evidenceRow("nested", { a: 1 }), m.evidenceRow("low_pct", 79)];
    """
    assert run(page, "format", body) == [
        ["mean rate", "148 /min"],
        ["rule", "ventricular tachycardia"],
        None,
        ["low", "79 %"],
    ]


def test_the_event_list_tells_each_alarm_and_each_episode_once_and_stays_bounded(page: Page) -> None:
    body = """
        const list = new m.EventList();
        const base = { patient: "p", stream: "s", end_us: null, supersedes: null, evidence: {} };
        const alarm = (id, state, changed) => ({ ...base, id, type: "alarm", alarm: "a", priority: "high", state,
            alarm_class: "physiological", text: "VT", by: null, start_us: 1, raised_us: 2, changed_us: changed });
        list.add([alarm("1", "active", 2), alarm("2", "latched", 3), alarm("3", "active", 1)]);
        list.add([{ ...base, id: "4", type: "rhythm", label: "VT", start_us: 1 },
            { ...base, id: "5", type: "rhythm", label: "VT", start_us: 1, end_us: 5e6 + 1, supersedes: "4" }]);
        const told = list.rows().map((row) => [row.kind, row.note]);
        const finding = { ...base, type: "finding", kind: "pause" };
        for (let i = 0; i < 3000; i += 1) list.add([{ ...finding, id: `n${i}`, start_us: i }]);
        return [told, list.byId.size];
    """
    told, size = run(page, "events", body)
    assert sorted(told) == [["alarm", "ended, not acknowledged"], ["rhythm", "lasted 00:05"]]
    assert size <= 400


def test_limits_of_a_patients_own_are_marked(page: Page) -> None:
    body = """
        const view = new m.NumberView("MDC_ECG_HEART_RATE", "HR");
        const value = { label: "HR", unit: "/min", value: 70, decimals: 0, time_us: 1, age_s: 0, validity: "good",
            reason: null, limit_low: 45, limit_high: 130 };
        view.update({ ...value, limit_changed: true });
        const marked = [view.limits.classList.contains("own"), view.high.textContent];
        view.update(value);
        return [...marked, view.limits.classList.contains("own")];
    """
    assert run(page, "numbers", body) == [True, "130", False]


def test_the_line_of_completeness_says_what_is_missing_and_never_rounds_up_to_whole(page: Page) -> None:
    body = """
        const hours = [{ hour_us: 0, share: 0.9994, lost_s: { link_lost: 600, packets_lost: 2 } },
                       { hour_us: 3600e6, share: null, lost_s: { link_lost: 30 } }];
        const [words] = m.completenessText({ since_us: 0, share: 0.99949, missing_s: 640, hours });
        const [whole, list] = m.completenessText({ since_us: 0, share: 1, missing_s: 0, hours });
        const shares = list.split("\\n").map((one) => one.slice(9));
        return [words.split(": ").slice(1).join(": "), whole.split(": ")[1], shares];
    """
    words, whole, hours = run(page, "completeness", body)
    assert words == "99.9 %, missing 10 min 40 s (link lost 10 min 30 s, packets lost 2 s)"
    assert whole == "100 %"
    assert hours == ["99.9 %", "---"]
