"""Settings come from option, environment, file, default; a wrong one is named with its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedside.core.errors import SetupError
from bedside.settings import Home, Settings, home_from, home_in_use, settings_from

pytestmark = pytest.mark.requirement("GWY-005")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("BEDSIDE_PORT", "BEDSIDE_HOME"):
        monkeypatch.delenv(name, raising=False)
    home = Home(tmp_path)
    home.make()
    return home


def test_the_option_wins_over_the_environment_and_that_over_the_file(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings_from(home).port == 8460
    (home.path / "bedside.toml").write_text("port = 9001\n")
    assert settings_from(home).port == 9001
    monkeypatch.setenv("BEDSIDE_PORT", "9002")
    assert settings_from(home).port == 9002
    assert settings_from(home, port=9003).port == 9003
    assert settings_from(home, port=None).port == 9002


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 1\n", "prot"),
        ("port = 0\n", "port"),
        ("port = \n", "not TOML"),
        ("[[patients]]\nname = 'A'\nwearables = [{}]\n", "wearables"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(home: Home, text: str, named: str) -> None:
    (home.path / "bedside.toml").write_text(text)
    with pytest.raises(SetupError, match=named) as caught:
        settings_from(home)
    assert "bedside.toml" in str(caught.value)
    assert caught.value.hint


def test_patients_and_their_wearables_stand_in_the_file(home: Home) -> None:
    (home.path / "bedside.toml").write_text(
        "[[patients]]\nname = 'Ada'\nbed = '3'\n[[patients.wearables]]\nname = 'H10'\naddress = 'AA:BB:CC:DD:EE:FF'\n"
    )
    (patient,) = settings_from(home).patients
    assert patient.wearables[0].address == "AA:BB:CC:DD:EE:FF"


def test_a_home_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(SetupError, match="data folder") as caught:
        Home(file / "home").make()
    assert "--home" in caught.value.hint


def test_a_home_whose_sockets_would_have_too_long_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="too long"):
        Home(tmp_path / ("x" * 100)).make()


def test_the_home_is_private(home: Home) -> None:
    assert (home.run.stat().st_mode & 0o777, home.keys.stat().st_mode & 0o777) == (0o700, 0o700)


def test_the_environment_names_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDSIDE_HOME", str(tmp_path))
    assert home_from().path == tmp_path
    assert home_from("/other").path == Path("/other")


def test_every_setting_is_described_in_the_readme() -> None:
    text = (Path(__file__).parents[2] / "appliance" / "README.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"| `{name}` |" in text, name
        assert field.description and field.description in text, name


def test_a_command_finds_the_demonstration_when_nothing_else_was_ever_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BEDSIDE_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    own, shown = tmp_path / "bedside", tmp_path / "bedside-demonstration"
    assert home_in_use().path == own
    shown.mkdir()
    (shown / "VERSION").write_text("1")
    assert home_in_use().path == shown
    own.mkdir()
    (own / "VERSION").write_text("1")
    assert home_in_use().path == own
    assert home_in_use(tmp_path / "named").path == tmp_path / "named"
