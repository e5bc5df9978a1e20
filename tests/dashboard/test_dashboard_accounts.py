"""Passwords, their throttle, request limits, and TLS with the box's own authority."""

from __future__ import annotations

import http.client
import json
import ssl
import stat
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from cryptography import x509
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from tests.dashboard.fake_gateway import FakeGateway

from bedside.core.errors import SetupError
from bedside.core.time import US_PER_S
from bedside.dashboard import accounts as room
from bedside.dashboard.accounts import FREE_TRIES, WAIT_S_MAX, Accounts, Bucket, Throttle
from bedside.dashboard.cli import accounts as command
from bedside.dashboard.roles import Role
from bedside.dashboard.serve import Dashboard, check_host, is_loopback
from bedside.dashboard.tls import SERVER_DAYS, papers
from bedside.settings import Home

pytestmark = pytest.mark.requirement("DSH-004")

NOW_US = 1_772_323_200_000_000
WORDS = "correct horse battery staple"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sixteenth of the memory: the strength itself has a test of its own."""
    monkeypatch.setattr(room, "MEMORY_KIB", 4 * 1024)


@pytest.fixture
def served(home: Home, gateway: FakeGateway) -> Iterator[Dashboard]:
    made = Dashboard(home, port=8460)
    made.feed.start()
    yield made
    made.close()


def test_a_password_signs_in_under_the_accounts_name_and_role(
    served: Dashboard, home: Home, gateway: FakeGateway
) -> None:
    Accounts(home).add("Agnes", Role.NURSE, WORDS)
    client = served.app.test_client()
    assert b"Password" in client.get("/sign-in").data
    answer = client.post("/password", data={"name": "agnes", "password": WORDS})
    assert answer.status_code == 303
    who = client.get("/api/v1/session").get_json()
    assert (who["name"], who["role"], who["account"]) == ("Agnes", "nurse", True)
    assert WORDS not in json.dumps(gateway.audits), "no password in any record"


def test_the_sign_in_page_of_a_box_without_accounts_asks_for_no_password(served: Dashboard) -> None:
    page = served.app.test_client().get("/sign-in").data
    assert b"Password" not in page and b"bedside sign-in" in page


@pytest.mark.parametrize(
    ("name", "words"), [("Agnes", "wrong wrong wrong"), ("Nobody", WORDS), ("", ""), ("Agnes", "")]
)
def test_a_wrong_name_and_a_wrong_password_look_the_same(served: Dashboard, home: Home, name: str, words: str) -> None:
    Accounts(home).add("Agnes", Role.NURSE, WORDS)
    answer = served.app.test_client().post("/password", data={"name": name, "password": words})
    assert answer.status_code == 403 and b"The name or the password is not right." in answer.data


def test_guessing_waits_for_the_right_password_too(served: Dashboard, home: Home) -> None:
    Accounts(home).add("Agnes", Role.NURSE, WORDS)
    client = served.app.test_client()
    for _ in range(FREE_TRIES + 1):
        assert client.post("/password", data={"name": "Agnes", "password": "guess guess guess"}).status_code == 403
    assert client.post("/password", data={"name": "Agnes", "password": WORDS}).status_code == 429


def test_an_account_that_is_removed_or_changed_is_so_at_its_next_request(served: Dashboard, home: Home) -> None:
    accounts = Accounts(home)
    accounts.add("Agnes", Role.CLINICIAN, WORDS)
    client = served.app.test_client()
    client.post("/password", data={"name": "Agnes", "password": WORDS})
    assert client.get("/api/v1/ward").status_code == 200
    accounts.add("Agnes", Role.AUDITOR, WORDS)
    assert client.get("/api/v1/ward").status_code == 403
    accounts.remove("Agnes")
    assert client.get("/api/v1/session").status_code == 401


def test_only_the_owner_unlocks_a_locked_session(served: Dashboard, home: Home) -> None:
    Accounts(home).add("Agnes", Role.NURSE, WORDS)
    client = served.app.test_client()
    client.post("/password", data={"name": "Agnes", "password": WORDS})
    csrf = client.get("/api/v1/session").get_json()["csrf"]
    client.post("/api/v1/lock", headers={"X-Bedside-CSRF": csrf})
    page = client.get("/").data
    assert b"Alarms are shown; nothing can be changed" in page
    wrong = client.post("/unlock", data={"csrf": csrf, "password": "guess guess guess"})
    assert "refused" in str(wrong.location) and client.get("/api/v1/handover?start_us=1").status_code == 423
    client.post("/unlock", data={"csrf": csrf, "password": WORDS})
    assert client.get("/api/v1/handover?start_us=1").status_code == 200


def test_only_argon2id_of_a_password_is_kept_and_only_its_owner_may_read_the_file(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    Accounts(home).add("Agnes", Role.NURSE, WORDS)
    path = home.keys / "accounts.json"
    text = path.read_text()
    assert WORDS not in text and "$argon2id$v=19$m=65536,t=3,p=4$" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_short_passwords_and_strange_names_are_refused_and_a_damaged_file_signs_nobody_in(home: Home) -> None:
    accounts = Accounts(home)
    for name, words in [("Agnes", "short"), (" Agnes", WORDS), ("A" * 61, WORDS), ("a\nb", WORDS)]:
        with pytest.raises(SetupError):
            accounts.add(name, Role.NURSE, words)
    (home.keys / "accounts.json").write_text("[{}]")
    assert accounts.check("Agnes", WORDS) is None
    with pytest.raises(SetupError, match="cannot be read"):
        accounts.all()


def test_the_command_adds_lists_and_removes(home: Home) -> None:
    runner = CliRunner()
    done = runner.invoke(command, ["add", "Agnes", "--role", "nurse", "--home", str(home.path)], input=f"{WORDS}\n")
    assert done.exit_code == 0, done.output
    assert Accounts(home).check("Agnes", WORDS) is not None
    assert "nurse          Agnes" in runner.invoke(command, ["list", "--home", str(home.path)]).output
    assert runner.invoke(command, ["remove", "Agnes", "--home", str(home.path)]).exit_code == 0
    assert "No account yet" in runner.invoke(command, ["list", "--home", str(home.path)]).output


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2000)), max_size=60))
def test_who_fails_waits_longer_each_time_and_never_beyond_the_bound(tries: list[tuple[bool, float]]) -> None:
    now_s, failures = 0.0, 0
    throttle = Throttle(lambda: now_s)
    for right, pause_s in tries:
        now_s += pause_s
        if throttle.wait_s("a") > 0:
            continue
        if right:
            throttle.succeeded("a")
            failures = 0
        else:
            throttle.failed("a")
            failures += 1
        wait_s = throttle.wait_s("a")
        expected = 0.0 if failures <= FREE_TRIES else min(2.0 ** (failures - FREE_TRIES - 1), WAIT_S_MAX)
        assert wait_s == pytest.approx(expected)
        assert throttle.wait_s("b") == 0


@given(st.lists(st.floats(0, 3), max_size=200))
def test_a_bucket_lets_no_more_through_than_its_rate_and_burst(pauses: list[float]) -> None:
    now_s = 0.0
    bucket = Bucket(lambda: now_s, 2.0, 5)
    passed = 0
    for pause_s in pauses:
        now_s += pause_s
        passed += bucket.take("a")
        assert passed <= 5 + 2.0 * now_s + 1e-6


def test_too_many_requests_of_one_session_are_refused_and_anothers_are_not(
    served: Dashboard, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients: list[FlaskClient] = []
    for name in ("a", "b"):
        client = served.app.test_client()
        session = served.access.open_for(name, Role.NURSE)
        Accounts(home).add(name, Role.NURSE, WORDS)
        client.set_cookie("bedside-8460", served.access.cookie(session))
        clients.append(client)
    codes = {clients[0].get("/api/v1/session").status_code for _ in range(700)}
    assert codes == {200, 429}
    assert clients[1].get("/api/v1/session").status_code == 200


# ---------------------------------------------------------------------- TLS


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("192.168.1.5", False)],
)
def test_what_others_can_reach_needs_a_word_and_is_encrypted(host: str, own: bool) -> None:
    assert is_loopback(host) is own
    if not own:
        with pytest.raises(SetupError, match="others than this box"):
            check_host(host, allow_remote=False)


def test_the_pages_are_served_encrypted_by_the_boxs_own_authority(home: Home, gateway: FakeGateway) -> None:
    dashboard = Dashboard(home, port=0, encrypted=True)
    dashboard.start()
    try:
        assert dashboard.papers is not None
        trusting = ssl.create_default_context(cafile=str(dashboard.papers.authority))
        link = http.client.HTTPSConnection("127.0.0.1", dashboard.port, context=trusting, timeout=20)
        link.request("GET", "/sign-in")
        answer = link.getresponse()
        assert answer.status == 200 and answer.getheader("Strict-Transport-Security")
        answer.read()
        link.request("GET", "/authority.pem")
        served = link.getresponse().read()
        assert served == dashboard.papers.authority.read_bytes()
        link.close()
        stranger = http.client.HTTPSConnection(
            "127.0.0.1", dashboard.port, context=ssl.create_default_context(), timeout=20
        )
        with pytest.raises(ssl.SSLCertVerificationError):
            stranger.request("GET", "/sign-in")
        plain = http.client.HTTPConnection("127.0.0.1", dashboard.port, timeout=20)
        try:
            plain.request("GET", "/sign-in")
            told = plain.getresponse().status
        except (OSError, http.client.HTTPException):
            told = 400  # hung up
        plain.close()
        assert told == 400, "nothing is told without encryption"
    finally:
        dashboard.close()


def test_certificates_are_kept_renewed_in_time_and_made_for_new_names(home: Home) -> None:
    first = papers(home, ["ward.example"], NOW_US)
    server, authority = first.certificate.read_bytes(), first.authority.read_bytes()
    assert papers(home, ["ward.example"], NOW_US).certificate.read_bytes() == server
    named = papers(home, ["ward.example", "10.0.0.7"], NOW_US)
    assert named.certificate.read_bytes() != server and named.authority.read_bytes() == authority
    late = papers(home, ["ward.example"], NOW_US + (SERVER_DAYS - 5) * 86_400 * US_PER_S)
    assert late.certificate.read_bytes() not in (server, b"") and late.fingerprint == first.fingerprint
    names = x509.load_pem_x509_certificate(late.certificate.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "ward.example" in names.value.get_values_for_type(x509.DNSName)
    for file in (home.keys / "tls").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    (home.keys / "tls" / "authority.key").write_text("rubbish")
    with pytest.raises(SetupError, match="cannot be read or made"):
        papers(home, [], NOW_US)
