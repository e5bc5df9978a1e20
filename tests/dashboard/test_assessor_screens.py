"""The assessor's checks of screens: two browsers, flash rates of rendered frames, colour-blind eyes, three metres."""

from __future__ import annotations

import base64
import itertools
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.dashboard.fake_gateway import FakeGateway
from tests.dashboard.test_dashboard_browser import Screen, signed_in

from bedside.dashboard.access import new_link
from bedside.dashboard.serve import Dashboard
from bedside.settings import Home

pytestmark = pytest.mark.requirement("DSH-005")

Record = Callable[[str, object], None]
Pixels = npt.NDArray[np.float64]
EYES = ("none", "protanopia", "deuteranopia", "tritanopia", "achromatopsia")
MM_PER_PX = 25.4 / 96
ARCMIN = math.pi / 180 / 60


@pytest.fixture
def screen(browser: Browser, box: tuple[Home, FakeGateway, Dashboard]) -> Iterator[Screen]:
    home, gateway, dashboard = box
    gateway.reset()
    yield from signed_in(browser, home, gateway, dashboard)


def alarms(screen: Screen) -> None:
    for number, priority in enumerate(("high", "medium", "low")):
        screen.gateway.raise_alarm(number, "asystole", priority, f"Alarm of {priority} priority")
        expect(screen.page.locator(f".alarm.{priority}").first).to_be_visible()


def pixels(page: Page, selector: str) -> Pixels:
    """The rendered element, decoded by the browser: (height, width, 3), 0 to 255."""
    png = page.locator(selector).first.screenshot(animations="allow", timeout=20_000)
    found = page.evaluate(
        """async (text) => {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
        const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(bitmap, 0, 0);
        const data = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
        let out = ""; for (const value of data) out += String.fromCharCode(value);
        return [bitmap.width, bitmap.height, btoa(out)]; }""",
        base64.b64encode(png).decode(),
    )
    data = np.frombuffer(base64.b64decode(found[2]), dtype=np.uint8)
    return data.reshape(found[1], found[0], 4)[:, :, :3].astype(np.float64)


def ground(image: Pixels) -> Pixels:
    """The block's own colour: the median of its upper edge, where no letter stands."""
    return np.asarray(np.median(image[3:6, 12:-12].reshape(-1, 3), axis=0), dtype=np.float64)


def luminance(rgb: Pixels) -> float:
    linear = np.where(rgb / 255 <= 0.04045, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(one: Pixels, other: Pixels) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("priority", "least_hz", "most_hz", "frames", "step_ms"),
    [("high", 1.4, 2.8, 24, 125.0), ("medium", 0.4, 0.8, 24, 416.7)],
)
def test_check_19_the_flash_rate_is_that_of_rendered_frames(
    screen: Screen, record_property: Record, priority: str, least_hz: float, most_hz: float, frames: int, step_ms: float
) -> None:
    """The block's own animation is set to one moment after the other, and what the browser paints is looked at."""
    alarms(screen)
    page, block = screen.page, f".tile .alarm.{priority}"
    lit = []
    for number in range(frames):
        page.locator(block).first.evaluate(
            "(one, at) => { for (const flash of one.getAnimations()) { flash.pause(); flash.currentTime = at; } }",
            (number + 0.5) * step_ms,
        )
        lit.append(ground(pixels(page, block)))
    distance = [float(np.linalg.norm(one - lit[0])) for one in lit]
    on = [value < max(distance) / 2 for value in distance]
    assert max(distance) > 60, "it is seen to change"
    changes = sum(a != b for a, b in itertools.pairwise(on))
    rate_hz = changes / 2 / ((frames - 1) * step_ms / 1000)
    record_property("assessor", [19, f"{priority} flashes at {rate_hz:.2f} Hz in rendered frames"])
    assert least_hz <= rate_hz <= most_hz
    duty = sum(on) / len(on)
    assert 0.2 <= duty <= 0.6, "IEC 60601-1-8: lit for 20 to 60 % of the time"


def test_check_19_low_does_not_flash(screen: Screen) -> None:
    alarms(screen)
    assert screen.page.locator(".tile .alarm.low").first.evaluate("one => one.getAnimations().length") == 0


@pytest.mark.parametrize("theme", ["night", "day"])
def test_check_19_priorities_are_told_apart_without_colour_and_can_be_read(
    screen: Screen, record_property: Record, theme: str
) -> None:
    screen.page.evaluate(f"localStorage.setItem('bedside-theme', '{theme}')")
    screen.page.reload()
    alarms(screen)
    page = screen.page
    page.evaluate("document.getAnimations().forEach((one) => { one.pause(); one.currentTime = 10; })")
    devtools = page.context.new_cdp_session(page)
    shapes = {
        p: page.locator(f".tile .alarm.{p} .alarm-shape path").first.get_attribute("d")
        for p in ("high", "medium", "low")
    }
    stars = {p: page.locator(f".tile .alarm.{p} .alarm-stars").first.inner_text() for p in shapes}
    assert len(set(shapes.values())) == 3 and list(stars.values()) == ["***", "**", "*"]
    least = math.inf
    for eyes in EYES:
        devtools.send("Emulation.setEmulatedVisionDeficiency", {"type": eyes})
        for priority in shapes:
            image = pixels(page, f".tile .alarm.{priority}")
            back = ground(image)
            letters = image.reshape(-1, 3)[np.argmax([contrast(one, back) for one in image.reshape(-1, 3)[::7]]) * 7]
            least = min(least, contrast(letters, back))
    devtools.send("Emulation.setEmulatedVisionDeficiency", {"type": "none"})
    record_property(
        "assessor", [19, f"text on alarm blocks at least {least:.1f}:1 for {len(EYES)} kinds of eyes, {theme}"]
    )
    assert least >= 4.5


def test_check_19_a_wall_display_is_read_from_three_metres(screen: Screen, record_property: Record) -> None:
    """16 minutes of arc are read with ease (ISO 9241-303); a CSS pixel of a wall display is taken as 1/96 inch."""
    page = screen.page
    page.set_viewport_size({"width": 1920, "height": 1080})
    alarms(screen)

    def height_arcmin(selector: str, metres: float) -> float:
        size = page.locator(selector).first.evaluate("one => parseFloat(getComputedStyle(one).fontSize)")
        return float(size) * 0.72 * MM_PER_PX / (metres * 1000) / ARCMIN  # 0.72: height of Inter's capitals and digits

    rate = height_arcmin(".tile .num.hr .num-value", 3.0)
    text = height_arcmin(".tile .alarm.high .alarm-text", 1.0)
    block = page.locator(".tile .alarm.high").first.bounding_box()
    assert block is not None
    seen = block["height"] * MM_PER_PX / 4000 / ARCMIN
    words = f"wall display: heart rate {rate:.0f} arcmin at 3 m, alarm text {text:.0f} at 1 m, block {seen:.0f} at 4 m"
    record_property("assessor", [19, words])
    assert rate >= 16, "the number from three metres"
    assert text >= 10, "the sentence from one metre: IEC 60601-1-8, 6.3.2.2.2 (operator's position)"
    assert seen >= 6, "that there is an alarm, and of which colour, from four metres"


def test_check_16_two_browsers_see_one_acknowledgement_within_a_second(
    browser: Browser, screen: Screen, box: tuple[Home, FakeGateway, Dashboard], record_property: Record
) -> None:
    home, gateway, dashboard = box
    other = browser.new_context()
    page = other.new_page()
    page.goto(new_link(home, "127.0.0.1", dashboard.port))
    page.click("#enter")
    gateway.raise_alarm(0, "asystole", "high", "Asystole: no heart beat for 5 s (limit 4 s)")
    for each in (page, screen.page):
        expect(each.locator(".tile .alarm.high.active").first).to_be_visible()
    page.evaluate(
        """() => { window.seenAt = null; new MutationObserver(() => {
        const seen = document.querySelector('.tile .alarm.high.acknowledged');
        if (window.seenAt === null && seen) window.seenAt = Date.now();
        }).observe(document.body, { subtree: true, attributes: true }); }"""
    )
    before = time.time()
    screen.page.locator(".tile .alarm.high .alarm-ack").first.click()
    expect(page.locator(".tile .alarm.high.acknowledged").first).to_be_visible()
    took_s = page.evaluate("window.seenAt") / 1000 - before
    other.close()
    record_property("assessor", [16, f"the second browser showed it {took_s:.2f} s after the press"])
