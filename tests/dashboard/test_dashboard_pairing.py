"""Pairing and the patient's own page in a real Chromium, before a real gateway with virtual wearables."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.dashboard.test_dashboard_browser import listen

from bedside.core.time import SystemClock
from bedside.dashboard.access import new_link
from bedside.dashboard.serve import Dashboard
from bedside.dashboard.words import languages, parse_words, words_in
from bedside.gateway import Edges, Gateway, open_gateway
from bedside.settings import Home, Settings
from bedside.stage import bodies_for

pytestmark = pytest.mark.requirement("BLE-007", "BLE-008", "DSH-011")

PATIENCE_MS = 40_000


class LiveGateway(threading.Thread):
    """A real gateway in real time: two patients, whose straps lie near the box and are nobody's yet."""

    def __init__(self, home: Home) -> None:
        super().__init__(name="gateway", daemon=True)
        self._home = home
        self._ready: Future[Gateway] = Future()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        bodies = [dataclasses.replace(one, paired=False) for one in bodies_for(demo=True, replays=())[:2]]
        edges = Edges.of_the_box(SystemClock())
        gateway = await open_gateway(self._home, Settings(), edges, bodies=bodies, demonstration=True)
        self._task = asyncio.create_task(gateway.run())
        self._ready.set_result(gateway)
        await asyncio.gather(self._task, return_exceptions=True)

    def gateway(self) -> Gateway:
        return self._ready.result(30)

    def reach(self, strap: int, reachable: bool) -> None:
        """Take a strap out of range, or bring it back."""
        virtual = self.gateway().virtual
        assert virtual is not None
        self._loop.call_soon_threadsafe(virtual.wearables[strap].set_reachable, reachable)

    def close(self) -> None:
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self.join(20)


@dataclass
class House:
    home: Home
    live: LiveGateway
    dashboard: Dashboard

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard.port}"

    def patients(self) -> list[str]:
        return self.live.gateway().ward.patients()


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory(prefix="bd") as folder:
        home = Home(Path(folder))
        home.make()
        live = LiveGateway(home)
        live.start()
        live.gateway()
        dashboard = Dashboard(home, port=0)
        dashboard.start()
        yield House(home, live, dashboard)
        dashboard.close()
        live.close()


@pytest.fixture
def staff(browser: Browser, house: House) -> Iterator[Page]:
    """A nurse who is signed in."""
    yield from opened(browser, house, signed_in=True)


@pytest.fixture
def phone(browser: Browser, house: House) -> Iterator[Page]:
    """The patient's own phone, which knows nothing yet."""
    yield from opened(browser, house, signed_in=False)


def opened(browser: Browser, house: House, *, signed_in: bool) -> Iterator[Page]:
    complaints: list[str] = []
    size = {"width": 768, "height": 1024} if signed_in else {"width": 360, "height": 740}
    context = browser.new_context(viewport=size, color_scheme="light", locale="en-GB")  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    listen(page, complaints)
    if signed_in:
        page.goto(new_link(house.home, "127.0.0.1", house.dashboard.port))
        page.click("#enter")
        expect(page.locator(".tile")).to_have_count(2)
    yield page
    context.close()
    assert [one for one in complaints if "Failed to load resource" not in one] == []


def picture(page: Page, name: str) -> None:
    """A screenshot for the eye, where a folder was named for it; and nothing may hang over the side."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"
    if folder := os.environ.get("BEDSIDE_PICTURES"):
        for width in (360, 768, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=str(Path(folder) / f"{name}-{width}.png"), full_page=True)


def enter_her_page(staff: Page, phone: Page, house: House, patient: str) -> None:
    staff.goto(f"{house.address}/pair/{patient}")
    staff.click("#code")
    expect(staff.locator(".code-place svg.qr")).to_be_visible()
    strokes = staff.locator(".code-place svg.qr path").evaluate("(path) => getComputedStyle(path).stroke")
    assert strokes == "none", "a code whose modules have grown cannot be read"
    picture(staff, "pair-code")
    phone.goto(staff.locator(".code-place p").inner_text())
    phone.click("#enter")
    expect(phone.locator("#unwell")).to_be_visible()


def test_a_strap_becomes_hers_on_her_own_phone_and_she_keeps_a_page(house: House, staff: Page, phone: Page) -> None:
    anna = house.patients()[0]
    enter_her_page(staff, phone, house, anna)
    expect(phone.locator("#me-text")).to_have_text("No sensor is yours yet.")
    phone.click("text=My sensors")
    expect(phone.locator(".choice")).to_have_count(2)
    picture(phone, "pair-choose")
    label = phone.locator(".choice .tag").first.inner_text()
    phone.locator(".choice").first.click()
    expect(phone.locator("#attempt")).to_contain_text("Does yours have this label")
    expect(phone.locator("#attempt")).to_contain_text(label)
    picture(phone, "pair-question")
    phone.click("#attempt >> text=Yes")
    expect(phone.locator("#attempt .done")).to_have_text(re.compile(r"Yours, working, \d+ % battery"))
    picture(phone, "pair-done")
    phone.goto(f"{house.address}/my")
    expect(phone.locator("#me-text")).to_have_text("You are being watched over.")
    ink = """() => { const c = document.getElementById('beat'); const d = c.getContext('2d')
        .getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 40;
        return n; }"""
    phone.wait_for_function(f"({ink})() > 400")
    picture(phone, "my-watched")
    staff.goto(f"{house.address}/")
    expect(staff.locator(f'.tile[data-patient="{anna}"]')).to_be_visible()

    house.live.reach(0, False)
    house.live.reach(1, False)
    expect(phone.locator("#me-text")).to_have_text("We lost your sensor.")
    expect(phone.locator("#me-pictures img").first).to_be_visible()
    picture(phone, "my-lost")
    house.live.reach(0, True)
    house.live.reach(1, True)
    expect(phone.locator("#me-text")).to_have_text("You are being watched over.")


def test_i_feel_unwell_reaches_the_team_who_answer_it(house: House, staff: Page, phone: Page) -> None:
    anna = house.patients()[0]
    enter_her_page(staff, phone, house, anna)
    phone.click("#unwell")
    expect(phone.locator("#call")).to_have_text("Your team has been told.")
    picture(phone, "my-called")
    staff.goto(f"{house.address}/")
    tile = staff.locator(f'.tile[data-patient="{anna}"]')
    expect(tile).to_contain_text("I feel unwell")
    cookie = {one["name"]: one["value"] for one in staff.context.cookies() if "name" in one and "value" in one}
    csrf = staff.locator('meta[name="bedside-csrf"]').get_attribute("content") or ""
    ward = house.live.gateway().ward.view()
    (alarm,) = [one for p in ward["patients"] for one in p["alarms"] if one["kind"] == "patient_call"]
    asked = Request(
        f"{house.address}/api/v1/acknowledge",
        json.dumps({"alarm": alarm["alarm"]}).encode(),
        {
            "Content-Type": "application/json",
            "X-Bedside-CSRF": csrf,
            "Origin": house.address,
            "Cookie": "; ".join(f"{name}={value}" for name, value in cookie.items()),
        },
    )
    with urlopen(asked) as answer:
        assert answer.status == 200
    expect(phone.locator("#call")).to_have_text("Your team has seen your call.")
    phone.goto(f"{house.address}/my?lang=de")
    expect(phone.locator("#unwell")).to_have_text("Mir geht es nicht gut")
    phone.goto(f"{house.address}/my")
    expect(phone.locator("#unwell")).to_have_text("Mir geht es nicht gut")  # the language is kept


def test_her_page_opens_nothing_else_and_ends_when_staff_say_so(house: House, staff: Page, phone: Page) -> None:
    anna = house.patients()[0]
    enter_her_page(staff, phone, house, anna)
    used = staff.locator(".code-place p").inner_text()
    for path in ("/", "/patient/x", f"/pair/{anna}", "/pair"):
        phone.goto(house.address + path)
        assert phone.url.endswith("/sign-in")
    statuses = phone.evaluate(
        """async (paths) => Promise.all(paths.map(async (path) => (await fetch(path)).status))""",
        ["/api/v1/ward", f"/api/v1/pair/{anna}/heard", "/api/v1/stream"],
    )
    assert statuses == [401, 401, 401]
    phone.goto(used)
    phone.click("#enter")
    expect(phone.locator("h1")).to_contain_text("no longer serves")
    staff.on("console", lambda _: None)
    phone.goto(f"{house.address}/my")
    expect(phone.locator("#unwell")).to_be_visible()
    staff.click("#end")
    expect(staff.locator(".code-place p")).to_have_count(0)
    phone.wait_for_timeout(1200)
    phone.goto(f"{house.address}/my")
    expect(phone.locator("#unwell")).to_have_count(0)


def test_staff_move_a_strap_and_take_it_back_and_a_mistyped_label_is_named(house: House, staff: Page) -> None:
    anna, bert = house.patients()
    staff.goto(f"{house.address}/pair/{bert}")
    staff.fill("#label", "ABCDEF")
    staff.click("#typed >> text=Go")
    expect(staff.locator("#mistyped")).to_be_visible()
    free = staff.locator(".choice:not(:has-text('Belongs'))", has_text="strap")
    expect(free).not_to_have_count(0)
    label = free.first.locator(".tag").inner_text()
    staff.fill("#label", label.lower())
    staff.click("#typed >> text=Go")
    done = re.compile(r"Yours, working, \d+ % battery")
    expect(staff.locator("#attempt .done")).to_have_text(done)
    staff.goto(f"{house.address}/pair/{anna}#{label.replace(' ', '')}")  # as a camera opens it
    expect(staff.locator("#attempt")).to_contain_text(re.compile("This sensor watches .*Take it from there"))
    staff.click("#attempt >> text=Yes")
    expect(staff.locator("#attempt .done")).to_have_text(done)
    desk = house.live.gateway().desk
    assert desk.register.of_patient(bert) == ()
    staff.click("#attempt >> text=Undo")
    expect(staff.locator("#attempt")).to_contain_text("Taken back.")
    expect(staff.locator("#mine .one", has_text=re.compile("working"))).to_have_count(
        len(desk.register.of_patient(anna))
    )


def test_each_language_has_each_word_and_no_other() -> None:
    assert list(languages()) == ["en", "de", "fr", "es"]
    for code in languages():
        assert all(text.strip() for text in words_in(code).values())
    with pytest.raises(ValueError, match="stands in one language alone"):
        parse_words('[en]\nlanguage="E"\nyes="Yes"\n[de]\nlanguage="D"\n')
