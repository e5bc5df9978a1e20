"""The pages with forms, history and sound in a real Chromium, and what axe-core finds on each page."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.dashboard.fake_gateway import FakeGateway, now_us
from tests.dashboard.test_dashboard_browser import Screen, signed_in

from bedside.dashboard.access import new_link
from bedside.dashboard.roles import Role
from bedside.dashboard.serve import Dashboard
from bedside.settings import Home

pytestmark = pytest.mark.requirement("DSH-005")


@pytest.fixture
def screen(browser: Browser, box: tuple[Home, FakeGateway, Dashboard]) -> Iterator[Screen]:
    home, gateway, dashboard = box
    gateway.reset()
    yield from signed_in(browser, home, gateway, dashboard)


def page_of(screen: Screen, name: str) -> str:
    return f"{screen.address}/patient/{screen.gateway.patients[0].id}/{name}"


# ---------------------------------------------------------------------- limits, standby, alarms off


def test_a_limit_is_tried_on_stored_data_then_set_and_the_old_value_is_said(screen: Screen) -> None:
    page = screen.page
    page.goto(page_of(screen, "limits"))
    card = page.locator('.limit[data-code="MDC_ECG_HEART_RATE"]')
    expect(card).to_contain_text("alarms below 50, alarms above 120")
    card.get_by_label("Upper limit").fill("130")
    card.get_by_role("button", name="What would these have done?").click()
    expect(card.locator(".bar").nth(1)).to_contain_text("3")
    screen.gateway.canned["set_limit"] = screen.gateway.answer({"op": "limits"})[0] | {"high": 130, "changed": True}
    card.get_by_role("button", name="Set the limits").click()
    expect(card.locator(".told")).to_contain_text("above 130 (was 120)")
    expect(card).to_contain_text("preset 120")
    (told,) = [one for one in screen.gateway.told if one["op"] == "set_limit"]
    assert (told["high"], told["low"], told["by"]) == (130, 50, "bedside clinician")


def test_what_the_box_refuses_is_said_and_a_value_out_of_bounds_is_not_sent(screen: Screen) -> None:
    page = screen.page
    page.goto(page_of(screen, "limits"))
    card = page.locator('.limit[data-code="MDC_ECG_HEART_RATE"]')
    card.get_by_label("Upper limit").fill("300")
    card.get_by_role("button", name="Set the limits").click()
    assert card.get_by_label("Upper limit").evaluate("one => one.validity.rangeOverflow")
    assert not [one for one in screen.gateway.told if one["op"] == "set_limit"]


def test_standby_and_alarms_off_have_reason_and_end_and_stand_on_the_tile(screen: Screen) -> None:
    page, gateway = screen.page, screen.gateway
    page.goto(page_of(screen, "limits"))
    standby = page.get_by_role("region", name="Standby")
    standby.get_by_label("Why").fill("X-ray")
    standby.get_by_role("button", name="Begin standby").click()
    expect(standby.locator(".told")).to_have_text("In standby.")
    off = page.get_by_role("region", name="Alarms off")
    expect(off).to_contain_text("Nobody can turn off: Asystole")
    assert "asystole" not in off.locator("option").evaluate_all("all => all.map(one => one.value)")
    off.get_by_label("Why").fill("known COPD")
    off.get_by_role("button", name="Turn it off").click()
    expect(off.locator(".told")).to_contain_text("SpO₂ low is off")
    told = {one["op"]: one for one in gateway.told}
    assert (told["standby"]["reason"], told["standby"]["seconds"]) == ("X-ray", 600)
    assert (told["alarm_off"]["kind"], told["alarm_off"]["reason"]) == ("spo2_low", "known COPD")
    gateway.patients[0].state = "standby"
    act = {"by": "Nurse Joy", "reason": "X-ray", "since_us": now_us(), "until_us": now_us() + 600_000_000}
    gateway.patients[0].extra = {"standby": act, "alarms_off": {"spo2_low": act}}
    page.goto(screen.address)
    expect(page.locator(f"{screen.tile(0)} .off-mark")).to_have_text("Standby")
    screen.open_patient(0)
    expect(page.locator(".state-line")).to_contain_text("STANDBY by Nurse Joy: X-ray")
    expect(page.locator(".state-line")).to_contain_text("SOME ALARMS OFF: SpO₂ low")


def test_who_may_not_sees_the_limits_and_cannot_press(
    browser: Browser, box: tuple[Home, FakeGateway, Dashboard]
) -> None:
    home, gateway, dashboard = box
    gateway.reset()
    context = browser.new_context()
    page = context.new_page()
    page.goto(new_link(home, "127.0.0.1", dashboard.port, role=Role.NURSE))
    page.click("#enter")
    page.goto(f"http://127.0.0.1:{dashboard.port}/patient/{gateway.patients[0].id}/limits")
    expect(page.get_by_role("button", name="Turn it off")).to_be_disabled()
    expect(page.get_by_role("button", name="Set the limits").first).to_be_enabled()
    context.close()


# ---------------------------------------------------------------------- review, score


def test_an_event_is_reviewed_by_keyboard_and_says_by_whom(screen: Screen) -> None:
    page, gateway = screen.page, screen.gateway
    gateway.raise_alarm(0, "asystole", "high", "Asystole: no heart beat for 5 s (limit 4 s)")
    screen.open_patient(0)
    page.locator(".event.of-alarm .event-button").first.click()
    form = page.get_by_role("form", name="Review")
    expect(form).to_be_visible()
    page.keyboard.press("n")
    expect(form.locator(".told")).to_have_text("Kept, with your name.")
    (told,) = [one for one in gateway.told if one["op"] == "review"]
    assert told["verdict"] == "rejected" and told["event"].startswith("alarm-")
    form.get_by_label("It is").select_option("artefact")
    form.get_by_label("Comment", exact=True).fill("brushing teeth")
    form.get_by_role("button", name="Reclassify").click()
    expect(form.get_by_label("Comment", exact=True)).to_have_value("")
    told = [one for one in gateway.told if one["op"] == "review"][-1]
    assert (told["label"], told["comment"]) == ("artefact", "brushing teeth")


def test_the_score_says_of_how_many_inputs_it_is_and_a_nurse_enters_more(screen: Screen) -> None:
    screen.open_patient(0)
    card = screen.page.get_by_role("region", name="Early warning score")
    expect(card).to_contain_text("At least 3 (scale 1; partial, 2 of 7 inputs)")
    card.locator("summary").click()
    card.get_by_label("Oxygen given").select_option("yes")
    card.get_by_label("Temperature").fill("38.4")
    card.get_by_role("button", name="Enter").click()
    expect(card.locator(".told")).to_contain_text("Entered")
    (told,) = [one for one in screen.gateway.told if one["op"] == "observe"]
    assert (told["oxygen"], told["MDC_TEMP_BODY"]) == (True, 38.4) and "alert" not in told


# ---------------------------------------------------------------------- history


def test_the_past_is_moved_through_and_measured_by_keyboard(screen: Screen) -> None:
    page = screen.page
    page.goto(page_of(screen, "history"))
    expect(page.locator(".trend")).to_have_count(1)  # the fake gateway gives one number whatever is asked
    words = page.locator(".roll-words")
    expect(words).to_contain_text(re.compile("[1-9][0-9]* beats"))
    before = words.inner_text()
    roll = page.locator(".roll-canvas")
    roll.focus()
    page.keyboard.press("Shift+ArrowLeft")
    expect(words).not_to_have_text(before)
    page.keyboard.press("c")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowRight")  # 20 px at 94.49 px a second
    expect(page.locator(".roll-measure")).to_have_text(re.compile(r"Calipers: 212 ms, 283/min"))


def test_calipers_are_dragged_and_say_milliseconds_and_millivolts(screen: Screen) -> None:
    page = screen.page
    page.goto(page_of(screen, "history"))
    expect(page.locator(".roll-words")).to_contain_text("beats")
    page.get_by_role("button", name="Calipers").click()
    page.locator(".roll-canvas").scroll_into_view_if_needed()
    box = page.locator(".roll-canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 200 + 94.488, box["y"] + 40 + 37.795)
    page.mouse.up()
    expect(page.locator(".roll-measure")).to_have_text(re.compile(r"Calipers: (999|100\d) ms, 60/min, (1.0\d|0.99) mV"))


# ---------------------------------------------------------------------- handover, load


def test_the_handover_and_the_load_are_one_page_each(screen: Screen) -> None:
    page = screen.page
    page.goto(f"{screen.address}/handover")
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator(".card").first).to_contain_text("Nurse Joy after 00:12")
    expect(page.locator(".card").first).to_contain_text("2 × Asystole not raised: another lead shows beats")
    page.goto(f"{screen.address}/fatigue")
    expect(page.get_by_role("region", name="By patient")).to_contain_text("70 % are SpO₂ low")
    expect(page.get_by_role("region", name="The ward")).to_contain_text("33 %")


# ---------------------------------------------------------------------- sound


def test_a_browser_that_may_not_sound_says_so_and_after_a_press_sounds_the_priority(screen: Screen) -> None:
    page, gateway = screen.page, screen.gateway
    sound = page.locator("#sound")
    expect(sound).to_have_attribute("data-state", "off")
    page.evaluate("localStorage.setItem('bedside-sound', 'on')")
    page.reload()
    expect(page.locator(".tile")).to_have_count(4)
    expect(sound).to_have_attribute("data-state", "blocked")
    expect(sound).to_contain_text("Sound blocked")
    gateway.raise_alarm(0, "asystole", "high", "Asystole: no heart beat for 5 s (limit 4 s)")
    expect(page.locator(".alarm.high").first).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.sounded") is None, "blocked is silent, and says so"
    sound.click()
    expect(sound).to_have_attribute("data-state", "on")
    expect(page.locator("html")).to_have_attribute("data-sounded", re.compile("^high"))


def test_a_browser_sounds_by_itself_when_it_no_longer_hears_the_box(screen: Screen) -> None:
    page = screen.page
    page.locator("#sound").click()
    expect(page.locator("#sound")).to_have_attribute("data-state", "on")
    screen.gateway.freeze()
    expect(page.locator("html")).to_have_attribute("data-sounded", re.compile("^high"))
    screen.gateway.thaw()


# ---------------------------------------------------------------------- accessibility

AXE = Path(sys.prefix) / "axe-core" / "axe.min.js"  # `make test` fetches it from the npm registry
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


def faults(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA on the page as it stands."""
    page.evaluate(AXE.read_text("utf-8"))
    found = json.loads(page.evaluate(f"axe.run(document, {json.dumps(RULES)}).then(r => JSON.stringify(r.violations))"))
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("theme", ["day", "night"])
def test_axe_finds_no_fault_on_any_page(screen: Screen, theme: str) -> None:
    page, gateway = screen.page, screen.gateway
    screen.expected = ("403",)  # a link that no longer serves
    page.evaluate(f"localStorage.setItem('bedside-theme', '{theme}')")
    page.emulate_media(reduced_motion="reduce")  # a flashing block has two contrasts: each is measured below
    for priority in ("high", "medium", "low"):
        gateway.raise_alarm(0 if priority == "high" else 1, "asystole", priority, f"Alarm of {priority} priority")
    found: list[str] = []
    for path, ready in {
        "": ".tile .alarm", f"patient/{gateway.patients[0].id}": ".event-button",
        f"patient/{gateway.patients[0].id}/limits": ".limit", f"patient/{gateway.patients[0].id}/history": ".trend",
        "handover": ".card table", "fatigue": ".card .bar", "sign-in?token=x": "h1",
    }.items():  # fmt: skip
        page.goto(f"{screen.address}/{path}")
        expect(page.locator(ready).first).to_be_visible()
        if ready == ".event-button":
            page.locator(ready).first.click()
            expect(page.locator(".review-form")).to_be_visible()
        found += [f"/{path.split('/')[-1][:12]} {one}" for one in faults(page)]
    assert found == []


def test_axe_sees_a_page_with_faults(screen: Screen) -> None:
    screen.page.evaluate("document.querySelector('#menu summary').ariaLabel = null")
    screen.page.evaluate("document.querySelector('.use').style.color = 'var(--line)'")
    found = {one.split(":")[0] for one in faults(screen.page)}
    assert {"summary-name", "color-contrast"} <= found


def test_a_keyboard_walk_reaches_everything_and_always_shows_where_it_is(screen: Screen) -> None:
    page = screen.page
    for name in (
        "",
        f"patient/{screen.gateway.patients[0].id}",
        f"patient/{screen.gateway.patients[0].id}/limits",
        "handover",
    ):
        page.goto(f"{screen.address}/{name}")
        expect(page.locator(".empty:visible")).to_have_count(0)
        wanted = page.evaluate(
            """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
            .filter((one) => !one.disabled && one.checkVisibility({ checkVisibilityCSS: true }))
            .filter((one) => one.tabIndex >= 0 && one.type !== 'hidden').length"""
        )
        page.evaluate("document.activeElement.blur()")
        seen, unseen = set(), []
        for _ in range(wanted + 6):
            page.keyboard.press("Tab")
            where, ring = page.evaluate(
                """() => { const one = document.activeElement; one.dataset.walk ??= String(Math.random());
                const style = getComputedStyle(one);
                const ring = parseFloat(style.outlineWidth) >= 2 || one.matches('body, .skip');
                return [one.dataset.walk, ring]; }"""
            )
            seen.add(where)
            if not ring:
                unseen.append(where)
        assert len(seen) >= wanted, f"/{name}: {len(seen)} of {wanted} reached"
        assert unseen == []
