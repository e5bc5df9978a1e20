from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bedside.core.errors import SetupError
from bedside.core.time import US_PER_S
from bedside.dashboard import access as door
from bedside.dashboard.access import Access, Names, Session, clean_name, new_link, same_origin, store_token, token_file
from bedside.settings import Home

pytestmark = pytest.mark.requirement("DSH-001")


class SetClock:
    def __init__(self) -> None:
        self.us = 1_700_000_000 * US_PER_S

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / US_PER_S


def token_of(link: str) -> str:
    return link.rpartition("=")[2]


def sessions_of_a_race(exchange: Callable[[], Session | None], threads: int = 8) -> list[Session]:
    """The sessions that many threads get when they use one token at the same moment."""
    ready = threading.Barrier(threads)
    got: list[Session] = []

    def use() -> None:
        ready.wait()
        session = exchange()
        if session is not None:
            got.append(session)

    workers = [threading.Thread(target=use) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return got


def test_a_token_opens_one_session_even_when_many_use_it_at_once(home: Home) -> None:
    access = Access(home)
    for _ in range(20):
        token = token_of(new_link(home, "127.0.0.1", 1))
        assert len(sessions_of_a_race(lambda used=token: access.exchange(used, None))) == 1  # type: ignore[misc]


def test_the_race_above_sees_a_door_that_does_not_take_the_token_away(home: Home) -> None:
    access = Access(home)
    token = token_of(new_link(home, "127.0.0.1", 1))

    def broken() -> Session | None:
        return Session("id", "name", "csrf") if access.token_serves(token) else None

    assert len(sessions_of_a_race(broken)) > 1


def test_a_token_lies_on_disk_only_as_a_digest_that_its_owner_alone_may_read(home: Home) -> None:
    token = token_of(new_link(home, "127.0.0.1", 1))
    assert token not in token_file(home).read_text()
    assert token_file(home).stat().st_mode & 0o777 == 0o600
    Access(home)
    assert (home.keys / "dashboard-session.key").stat().st_mode & 0o777 == 0o600


def test_a_newer_link_ends_the_older_one_and_an_old_one_ends_by_itself(home: Home) -> None:
    clock = SetClock()
    access = Access(home, clock=clock)
    store_token(home, "first", clock)
    store_token(home, "second", clock)
    assert access.exchange("first", None) is None
    clock.us += door.TOKEN_S * US_PER_S - 1
    assert access.token_serves("second")
    clock.us += 1
    assert access.exchange("second", None) is None


@pytest.fixture(scope="module")
def signed_in(tmp_path_factory: pytest.TempPathFactory) -> tuple[Access, Session]:
    home = Home(tmp_path_factory.mktemp("home"))
    home.make()
    access = Access(home)
    store_token(home, "token")
    session = access.exchange("token", "A name")
    assert session is not None
    return access, session


@given(cut=st.integers(0, 400), letter=st.sampled_from("abcXYZ0123456789-_."))
@example(cut=-1, letter="1")
@example(cut=-1, letter="9")
def test_a_changed_cookie_is_nobody(signed_in: tuple[Access, Session], cut: int, letter: str) -> None:
    access, session = signed_in
    cookie = access.cookie(session)
    place = cut % len(cookie)
    forged = cookie[:place] + letter + cookie[place + 1 :]
    assert (access.session(forged) == session) == (forged == cookie)


def test_a_cookie_ends_when_it_was_not_used_for_long_and_at_sign_out_for_good(home: Home) -> None:
    clock = SetClock()
    access = Access(home, clock=clock)
    store_token(home, "token", clock)
    session = access.exchange("token", "Sister Agnes")
    assert session is not None
    cookie = access.cookie(session)
    clock.us += door.SESSION_S * US_PER_S
    assert access.session(cookie) == session
    renewed = access.cookie(session)
    clock.us += US_PER_S
    assert access.session(cookie) is None
    assert access.session(renewed) == session
    access.sign_out(session)
    assert access.session(renewed) is None
    assert Access(home, clock=clock).session(renewed) is None, "a restart must not sign in again"
    assert "Agnes" not in "".join(file.read_text() for file in home.run.iterdir() if file.is_file())


def test_a_restart_keeps_who_is_signed_in(home: Home) -> None:
    access = Access(home)
    store_token(home, "token")
    session = access.exchange("token", None)
    assert session is not None
    assert Access(home).session(access.cookie(session)) == session


def test_a_damaged_key_or_list_is_refused_with_what_to_do(home: Home) -> None:
    Access(home)
    (home.run / "signed-out.json").write_text("[")
    with pytest.raises(SetupError) as signed_out:
        Access(home)
    assert "sign in" in signed_out.value.hint or "signs in" in signed_out.value.hint
    (home.run / "signed-out.json").unlink()
    (home.keys / "dashboard-session.key").write_text("short")
    with pytest.raises(SetupError, match="session key"):
        Access(home)


@given(st.text())
def test_a_name_is_short_printable_and_never_empty(name: str) -> None:
    cleaned = clean_name(name)
    assert 0 < len(cleaned) <= door.NAME_CHARS_MAX
    assert cleaned.isprintable()
    assert cleaned == clean_name(cleaned)


@pytest.mark.parametrize("host", ["127.0.0.1:8460", "localhost", "[::1]:80", "192.168.1.4", "ward.example:8460"])
def test_own_names_and_addresses_are_answered(host: str) -> None:
    assert Names("127.0.0.1", ["ward.example"]).allow(host)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "localhost.evil.example:8460"])
def test_strange_names_are_not_answered(host: str) -> None:
    assert not Names("127.0.0.1", ["ward.example"]).allow(host)


@pytest.mark.parametrize(
    ("origin", "fetch_site", "same"),
    [
        (None, None, True),
        ("http://127.0.0.1:8460", "same-origin", True),
        ("http://127.0.0.1:8461", None, False),
        ("null", None, False),
        ("http://127.0.0.1:8460", "cross-site", False),
        ("http://127.0.0.1:8460", "same-site", False),
        (None, "cross-site", False),
    ],
)
def test_only_our_own_pages_may_change_anything(origin: str | None, fetch_site: str | None, same: bool) -> None:
    assert same_origin(origin, fetch_site, "http", "127.0.0.1:8460") is same
