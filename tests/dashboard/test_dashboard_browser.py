"""A real Chromium before the pages; the gateway behind them is a fake one that speaks the real protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect
from tests.dashboard.fake_gateway import FakeGateway, now_us

from bedside.dashboard.access import new_link
from bedside.dashboard.serve import Dashboard
from bedside.settings import Home

pytestmark = pytest.mark.requirement("DSH-002", "DSH-003")

PATIENCE_MS = 30_000
COUNT_INK = """(canvas) => {
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let ink = 0, places = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i] > 40) { ink += 1; places = (places * 31 + i) % 1000000007; }
    return [ink, places];
}"""


@dataclass
class Screen:
    """A signed-in browser window that remembers everything it complained of."""

    page: Page
    context: BrowserContext
    dashboard: Dashboard
    gateway: FakeGateway
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard.port}"

    def tile(self, number: int) -> str:
        return f'.tile[data-patient="{self.gateway.patients[number].id}"]'

    def open_patient(self, number: int) -> None:
        self.page.goto(f"{self.address}/patient/{self.gateway.patients[number].id}")
        expect(self.page.locator("h1.bed")).to_have_text(self.gateway.patients[number].bed)


def listen(page: Page, complaints: list[str]) -> None:
    def hear(message: ConsoleMessage) -> None:
        ours = "willReadFrequently" not in message.text  # it is the test that reads the canvas back
        if message.type in ("error", "warning") and ours:
            complaints.append(f"{message.type}: {message.text}")

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))

    def check(request: Request) -> None:
        if not request.url.startswith("http://127.0.0.1:"):
            complaints.append(f"asked another server: {request.url}")

    page.on("request", check)


@pytest.fixture
def screen(browser: Browser, box: tuple[Home, FakeGateway, Dashboard]) -> Iterator[Screen]:
    home, gateway, dashboard = box
    gateway.reset()
    yield from signed_in(browser, home, gateway, dashboard)


@pytest.fixture
def breakable(browser: Browser, home: Home, gateway: FakeGateway, dashboard: Dashboard) -> Iterator[Screen]:
    """A screen whose gateway and dashboard are its own."""
    yield from signed_in(browser, home, gateway, dashboard)


def signed_in(browser: Browser, home: Home, gateway: FakeGateway, dashboard: Dashboard) -> Iterator[Screen]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="dark")
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    made = Screen(context.new_page(), context, dashboard, gateway)
    listen(made.page, made.complaints)
    made.page.goto(new_link(home, "127.0.0.1", dashboard.port))
    made.page.click("#enter")
    expect(made.page.locator(".tile")).to_have_count(len(gateway.patients))
    yield made
    context.close()
    unexpected = [text for text in made.complaints if not any(word in text for word in made.expected)]
    assert unexpected == []


def test_a_link_signs_in_once_and_leaves_the_address_bar(
    screen: Screen, box: tuple[Home, FakeGateway, Dashboard], browser: Browser
) -> None:
    assert screen.page.url == f"{screen.address}/"
    link = new_link(box[0], "127.0.0.1", screen.dashboard.port)
    another = browser.new_context()
    page = another.new_page()
    page.goto(link)
    expect(page.locator("#name")).to_have_value("bedside clinician")
    assert "token" not in page.url
    page.fill("#name", "Sister Agnes")
    page.click("#enter")
    expect(page.locator(".tile").first).to_be_visible()
    third = browser.new_context()
    stranger = third.new_page()
    stranger.goto(link)
    expect(stranger.locator("h1")).to_have_text("This link no longer serves")
    stranger.goto(f"{screen.address}/")
    expect(stranger.locator("pre")).to_have_text("bedside sign-in")
    another.close()
    third.close()


def test_the_ward_shows_each_patient_with_a_wave_that_moves(screen: Screen) -> None:
    for number, patient in enumerate(screen.gateway.patients):
        tile = screen.page.locator(screen.tile(number))
        expect(tile.locator(".bed")).to_have_text(patient.bed)
        expect(tile.locator(".num.hr .num-value")).to_have_text(f"{patient.rate_bpm:.0f}")
        expect(tile.locator(".num.spo2 .num-value")).to_have_text("97")
        expect(tile.locator(".simulated")).to_be_visible(visible=patient.simulated)
        canvas = tile.locator(".wave.ecg canvas")
        screen.page.wait_for_function(f"canvas => ({COUNT_INK})(canvas)[0] > 200", arg=canvas.element_handle())
        before = canvas.evaluate(COUNT_INK)
        changed = f"([canvas, before]) => ({COUNT_INK})(canvas)[1] !== before"
        screen.page.wait_for_function(changed, arg=[canvas.element_handle(), before[1]])
    expect(screen.page.locator("#audio")).to_have_text("Sound muted: demonstration")
    expect(screen.page.locator("#use")).to_contain_text("Never the sole alarm")
    expect(screen.page.locator(".script li")).to_have_count(len(screen.gateway.script))
    expect(screen.page.locator(".script li.done")).to_have_count(1)


def test_a_wave_that_gets_no_samples_runs_empty_and_says_why(screen: Screen) -> None:
    who = screen.gateway.patients[1]
    canvas = screen.page.locator(f"{screen.tile(1)} .wave.ecg canvas")
    screen.page.wait_for_function(f"canvas => ({COUNT_INK})(canvas)[0] > 200", arg=canvas.element_handle())
    who.since_us = now_us()
    who.link = "lost"
    expect(screen.page.locator(f"{screen.tile(1)} .wave.ecg .wave-reason b")).to_have_text("Link lost")
    expect(screen.page.locator(f"{screen.tile(1)} .num.hr .num-value")).to_have_text("---")
    screen.page.wait_for_function(f"canvas => ({COUNT_INK})(canvas)[0] === 0", arg=canvas.element_handle())
    expect(screen.page.locator(f"{screen.tile(0)} .wave.ecg .wave-reason")).to_be_hidden()


def test_a_lead_that_falls_off_is_named_instead_of_a_number(screen: Screen) -> None:
    screen.gateway.lose_lead(2)
    tile = screen.page.locator(screen.tile(2))
    expect(tile.locator(".wave.ecg .wave-reason b")).to_have_text("Lead off")
    expect(tile.locator(".num.hr .num-value")).to_have_text("---")
    expect(tile.locator(".num.hr .num-note")).to_have_text("Lead off")


def test_an_alarm_comes_first_is_announced_and_is_acknowledged_in_the_users_name(screen: Screen) -> None:
    screen.gateway.raise_alarm(2, "vt", "high", "Ventricular tachycardia: 6 beats at 168 /min")
    block = screen.page.locator(f"{screen.tile(2)} .alarm.high.active")
    expect(block.locator(".alarm-stars")).to_have_text("***")
    expect(block.locator(".alarm-text")).to_have_text("Ventricular tachycardia: 6 beats at 168 /min")
    expect(screen.page.locator("#say-now")).to_contain_text("high priority alarm, Bed 3")
    expect(screen.page.locator(".tile").first).to_have_attribute("data-patient", screen.gateway.patients[2].id)
    screen.page.wait_for_function("() => document.title.startsWith('*** (1)')")
    block.get_by_role("button", name="Acknowledge").click()
    expect(screen.page.locator(f"{screen.tile(2)} .alarm.high.acknowledged")).to_contain_text("seen by bedside clin")
    assert [request["by"] for request in screen.gateway.acknowledged] == ["bedside clinician"]


def test_the_sound_is_paused_by_name_counts_down_through_a_reload_and_changes_nothing_that_is_seen(
    screen: Screen,
) -> None:
    pause = screen.page.locator("#pause")
    screen.gateway.raise_alarm(1, "vt", "high", "Ventricular tachycardia")
    expect(screen.page.locator(f"{screen.tile(1)} .alarm.high.active")).to_be_visible()
    expect(pause).to_be_hidden()  # the box is muted: there is nothing to pause
    screen.gateway.audio = "on"
    pause.get_by_text("Pause sound", exact=True).click()
    expect(pause).to_have_text(re.compile(r"^Sound paused 0[12]:\d\d$"))
    assert screen.gateway.pause["audio_paused_by"] == "bedside clinician"
    expect(screen.page.locator(f"{screen.tile(1)} .alarm.high.active")).to_be_visible()
    screen.gateway.pause["audio_paused_until_us"] = now_us() + 45_000_000
    screen.page.reload()
    expect(pause).to_have_text(re.compile(r"^Sound paused 00:[34]\d$"))
    pause.click()
    expect(pause).to_have_text("Pause sound")
    assert screen.gateway.pause == {}


def test_a_missing_loudspeaker_is_said_in_the_top_bar(screen: Screen) -> None:
    screen.gateway.audio = "no loudspeaker: terminal bell only"
    expect(screen.page.locator("#audio")).to_have_text("no loudspeaker: terminal bell only")
    expect(screen.page.locator("#audio")).to_have_class("audio off")


def test_priorities_differ_in_shape_and_text_and_flash_at_their_own_rate(screen: Screen) -> None:
    for number, priority in enumerate(("high", "medium", "low")):
        screen.gateway.raise_alarm(number, f"kind{number}", priority, f"A {priority} alarm")
    seen = []
    for number, priority in enumerate(("high", "medium", "low")):
        block = screen.page.locator(f"{screen.tile(number)} .alarm.{priority}.active")
        shape = block.locator("path").first.get_attribute("d")
        duration_s = float(block.evaluate("b => parseFloat(getComputedStyle(b).animationDuration)"))
        seen.append((shape, block.locator(".alarm-stars").inner_text(), duration_s))
    assert len({shape for shape, _, _ in seen}) == 3
    assert [stars for _, stars, _ in seen] == ["***", "**", "*"]
    assert 1.4 <= 1 / seen[0][2] <= 2.8
    assert 0.4 <= 1 / seen[1][2] <= 0.8
    assert seen[2][2] == 0


def test_who_asked_for_less_motion_sees_no_flashing(screen: Screen) -> None:
    screen.page.emulate_media(reduced_motion="reduce")
    screen.gateway.raise_alarm(0, "vt", "high", "Ventricular tachycardia")
    block = screen.page.locator(f"{screen.tile(0)} .alarm.high.active")
    assert block.evaluate("b => b.getAnimations().length") == 0
    assert block.evaluate("b => getComputedStyle(b).backgroundColor") == "rgb(196, 10, 34)"


def test_a_frozen_gateway_covers_the_waves_and_a_thawed_one_uncovers_them(screen: Screen) -> None:
    expect(screen.page.locator(f"{screen.tile(0)} .cover").first).to_be_hidden()
    screen.gateway.freeze()
    expect(screen.page.locator(f"{screen.tile(0)} .cover").first).to_be_visible()
    expect(screen.page.locator(f"{screen.tile(0)} .cover-text").first).to_contain_text("Not live since ")
    expect(screen.page.locator("#notice")).to_contain_text("Gateway not answering")
    value = screen.page.locator(f"{screen.tile(0)} .num.hr .num-value")
    hidden = "value => getComputedStyle(value).fontSize === '0px'"
    screen.page.wait_for_function(hidden, arg=value.element_handle())
    assert value.evaluate("value => getComputedStyle(value, '::after').content") == '"---"'
    screen.gateway.thaw()
    expect(screen.page.locator(f"{screen.tile(0)} .cover").first).to_be_hidden()
    expect(screen.page.locator("#notice")).to_be_hidden()
    expect(screen.page.locator(".toast")).to_contain_text("Nothing was shown here from ")


def test_a_dead_dashboard_is_noticed_by_the_page_itself(breakable: Screen) -> None:
    breakable.expected = ("Failed to load resource", "ERR_")
    breakable.dashboard.close()
    expect(breakable.page.locator(f"{breakable.tile(0)} .cover").first).to_be_visible()
    expect(breakable.page.locator("#notice")).to_contain_text("Not live since ")


def test_a_second_tab_shares_the_stream_and_shows_the_past_seconds_at_once(screen: Screen) -> None:
    before = screen.dashboard.feed.viewers
    second = screen.context.new_page()
    listen(second, screen.complaints)
    second.goto(f"{screen.address}/")
    expect(second.locator(".tile")).to_have_count(4)
    assert screen.dashboard.feed.viewers <= before, "two tabs of one browser hold one stream"


def test_a_browser_without_shared_workers_gets_its_own_stream(screen: Screen) -> None:
    page = screen.context.new_page()
    listen(page, screen.complaints)
    page.add_init_script("delete globalThis.SharedWorker")
    before = screen.dashboard.feed.viewers
    page.goto(f"{screen.address}/")
    expect(page.locator(".tile")).to_have_count(4)
    assert screen.dashboard.feed.viewers > before


def test_names_and_texts_are_shown_as_text_whatever_they_hold(screen: Screen) -> None:
    evil = '<script>document.title="pwned"</script><img src=x onerror=alert(1)>'
    who = screen.gateway.patients[0]
    who.name, who.bed = evil, "<b>Bed</b>"
    screen.gateway.raise_alarm(0, "vt", "high", evil)
    screen.gateway.script[0]["text"] = evil
    expect(screen.page.locator(f"{screen.tile(0)} .name")).to_have_text(evil)
    expect(screen.page.locator(f"{screen.tile(0)} .alarm-text").first).to_have_text(evil)
    screen.page.goto(f"{screen.address}/patient/{who.id}")
    expect(screen.page.locator(".patient-head .name")).to_have_text(evil)
    expect(screen.page.locator(".event-title").first).to_contain_text(evil)
    assert screen.page.locator("img").count() == 0
    assert "pwned" not in screen.page.title()
    assert who.name not in screen.page.title()


def test_the_patient_page_shows_the_stored_strip_of_an_alarm_with_its_beats(screen: Screen) -> None:
    screen.gateway.patients[1].wide = True
    screen.gateway.raise_alarm(1, "vt", "high", "Ventricular tachycardia: 6 beats at 168 /min")
    screen.open_patient(1)
    expect(screen.page.locator(".alarm-list .alarm.high")).to_be_visible()
    expect(screen.page.locator(".alarm-list .evidence")).to_contain_text("148 /min")
    canvas = screen.page.locator(".strips .wave.ecg .wave-canvas")
    screen.page.wait_for_function(f"canvas => ({COUNT_INK})(canvas)[0] > 200", arg=canvas.element_handle())
    marks = screen.page.locator(".marks-canvas")
    screen.page.wait_for_function(f"canvas => ({COUNT_INK})(canvas)[0] > 50", arg=marks.element_handle())
    screen.page.locator(".event.of-alarm .event-button").click()
    expect(screen.page.locator(".review .strip-canvas")).to_be_visible()
    expect(screen.page.locator(".review")).to_contain_text("V (ventricular)")
    expect(screen.page.locator(".review")).to_contain_text("SIMULATED")
    screen.page.keyboard.press("Escape")
    expect(screen.page.locator(".review")).to_be_hidden()
    screen.page.locator(".alarm-list .alarm-ack").click()
    expect(screen.page.locator(".alarm-list .alarm.acknowledged")).to_be_visible()
    expect(screen.page.locator(".event.of-alarm .event-note")).to_contain_text("acknowledged by bedside clinician")


def test_an_acknowledgement_that_fails_is_said(screen: Screen) -> None:
    screen.expected = ("Failed to load resource",)
    alarm = screen.gateway.raise_alarm(0, "vt", "high", "Ventricular tachycardia")
    button = screen.page.locator(f"{screen.tile(0)} .alarm-ack").first
    expect(button).to_be_visible()
    screen.gateway.patients[0].alarms[alarm]["alarm"] = "another"
    screen.gateway.patients[0].alarms["kept"] = screen.gateway.patients[0].alarms.pop(alarm)
    button.click()
    expect(screen.page.locator(".toast")).to_contain_text("Not acknowledged")


def test_the_keyboard_reaches_a_patient_and_an_acknowledgement(screen: Screen) -> None:
    screen.gateway.raise_alarm(0, "vt", "high", "Ventricular tachycardia")
    expect(screen.page.locator(f"{screen.tile(0)} .alarm-ack").first).to_be_visible()
    stops: list[str] = []
    for _ in range(12):
        screen.page.keyboard.press("Tab")
        stops.append(str(screen.page.evaluate("document.activeElement.className || document.activeElement.tagName")))
    assert stops[0] == "skip"
    assert "tile-link" in stops
    assert "alarm-ack" in stops


def test_day_and_night_are_kept_for_the_next_page(screen: Screen) -> None:
    night = screen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    screen.page.click("#menu summary")
    screen.page.click("#theme-toggle")
    day = screen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert day != night
    screen.open_patient(0)
    assert screen.page.evaluate("getComputedStyle(document.body).backgroundColor") == day


def test_a_phone_shows_the_ward_without_scrolling_sideways(screen: Screen) -> None:
    for width in (360, 390):
        screen.page.set_viewport_size({"width": width, "height": 800})
        for path in ("/", f"/patient/{screen.gateway.patients[0].id}"):
            screen.page.goto(screen.address + path)
            expect(screen.page.locator(".num.hr .num-value").first).to_be_visible()
            assert screen.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path


def test_after_sign_out_the_page_says_so_and_shows_nothing_live(screen: Screen) -> None:
    screen.expected = ("Failed to load resource",)
    second = screen.context.new_page()
    second.goto(f"{screen.address}/")
    expect(second.locator(".tile")).to_have_count(4)
    second.click("#menu summary")
    second.get_by_role("button", name="Sign out").click()
    expect(second.locator("h1")).to_have_text("Sign in")
    expect(screen.page.locator("#notice")).to_contain_text("Signed out")
    expect(screen.page.locator(f"{screen.tile(0)} .cover").first).to_be_visible()


def test_the_page_sees_an_inline_script_that_the_policy_must_stop(screen: Screen) -> None:
    """Negative control of the complaints: a violation of the policy is heard."""
    screen.expected = ("Content Security Policy", "TrustedHTML", "Trusted Type")
    screen.page.evaluate("try { document.body.insertAdjacentHTML('beforeend', '<i>x</i>') } catch {}")
    screen.page.evaluate("document.body.setAttribute('style', 'color: red')")
    screen.page.wait_for_timeout(200)
    assert any("Content Security Policy" in text for text in screen.complaints)


def test_sixty_four_patients_fit_on_a_wall_display(browser: Browser, home: Home) -> None:
    gateway = FakeGateway(home.gateway_socket, patients=64).start()
    dashboard = Dashboard(home, port=0)
    dashboard.start()
    context = browser.new_context(viewport={"width": 1920, "height": 1080})
    page = context.new_page()
    page.add_init_script("localStorage.setItem('bedside-script', 'hidden')")
    complaints: list[str] = []
    listen(page, complaints)
    page.goto(new_link(home, "127.0.0.1", dashboard.port))
    page.click("#enter")
    expect(page.locator(".tile")).to_have_count(64)
    gateway.raise_alarm(63, "vt", "high", "Ventricular tachycardia")
    expect(page.locator(".tile").first).to_have_attribute("data-patient", gateway.patients[63].id)
    assert page.evaluate("document.documentElement.scrollHeight <= window.innerHeight + 1")
    overflowing = """[...document.querySelectorAll('.num-value')].filter((n) => n.offsetParent !== null
        && n.getBoundingClientRect().right > n.closest('.tile').getBoundingClientRect().right + 1).length"""
    assert page.evaluate(overflowing) == 0
    context.close()
    dashboard.close()
    gateway.close()
    assert complaints == []


def test_a_patients_page_shows_intervals_and_says_why_one_is_missing(screen: Screen) -> None:
    screen.open_patient(0)
    numbers = screen.page.locator(".numbers")
    expect(numbers.locator('[data-code="MDC_ECG_TIME_PD_QTcF"] .num-value')).to_have_text("418")
    expect(numbers.locator('[data-code="MDC_ECG_TIME_PD_PR"] .num-value')).to_have_text("---")
    expect(numbers.locator('[data-code="MDC_ECG_TIME_PD_PR"] .num-note')).to_have_text("No P wave")
    expect(numbers.locator('[data-code="MDC_ECG_AMPL_ST"]')).to_be_hidden()
    for width, height in ((1280, 800), (390, 844)):
        screen.page.set_viewport_size({"width": width, "height": height})
        wide = screen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{width} px: the page is {wide} px too wide"
