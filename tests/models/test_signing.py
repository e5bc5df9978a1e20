"""Models run only when a key that is believed signed their manifest; training signs, or leaves them unsigned aloud."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from bedside.core.errors import SetupError
from bedside.models import checking, shipped, signing
from bedside.models.cli import _signed
from bedside.models.inference import Manifest, Model
from bedside.models.models_cli import models

pytestmark = pytest.mark.requirement("MOD-001", "MOD-005")

FILES = ("manifest.json", "manifest.sig", "beats.tflite", "rhythm.tflite")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shipped models, copied."""
    place = tmp_path / "models"
    place.mkdir()
    for name in FILES:
        shutil.copy(shipped.folder() / name, place / name)
    return place


@pytest.fixture
def site_key(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "site.key"
    return path, signing.new_key(path)


def test_the_committed_manifest_is_signed_by_a_release_key() -> None:
    manifest = Manifest.load(shipped.folder() / "manifest.json", more_keys=tuple)
    assert manifest.signer in signing.RELEASE_KEYS


def test_no_private_key_lies_in_the_tree() -> None:
    root = shipped.folder().parent
    for place in ("models", "appliance", "provisioning", "compliance", "tests", "requirements"):
        for path in (root / place).rglob("*"):
            if path.is_file() and path.suffix not in (".pyc", ".png", ".tflite") and path != Path(__file__):
                assert b"PRIVATE KEY-----" not in path.read_bytes(), path


def test_models_without_a_signature_are_refused_and_it_is_said_how_to_sign(folder: Path) -> None:
    (folder / "manifest.sig").unlink()
    with pytest.raises(SetupError, match="not signed") as caught:
        Model.load(folder / "beats.tflite")
    assert "bedside models sign" in caught.value.hint


def test_a_manifest_that_was_changed_after_signing_is_refused(folder: Path) -> None:
    manifest = folder / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["models"]["beats"]["calibration"] = [[9.0, 9.0], [9.0, 9.0]]
    manifest.write_text(json.dumps(facts))
    with pytest.raises(SetupError, match="changed after signing"):
        Model.load(folder / "beats.tflite")


def test_every_flipped_bit_of_the_signature_is_refused(folder: Path) -> None:
    path = folder / "manifest.sig"
    facts = json.loads(path.read_text())
    for field, n_bits in (("signature", 512), ("key", 256)):
        for bit in range(0, n_bits, 7):
            changed = bytearray(bytes.fromhex(facts[field]))
            changed[bit // 8] ^= 1 << bit % 8
            path.write_text(json.dumps(facts | {field: changed.hex()}))
            with pytest.raises(SetupError):
                Manifest.load(folder / "manifest.json", more_keys=tuple)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"key": 3}', '{"key": "00", "signature": "00", "algorithm": "Ed25519"}', "\ud7ff" * 9000],
)
def test_a_damaged_signature_is_refused_in_words(folder: Path, text: str) -> None:
    (folder / "manifest.sig").write_text(text)
    with pytest.raises(SetupError, match="damaged"):
        Model.load(folder / "beats.tflite")


def test_another_algorithm_is_refused_even_with_the_right_signature(folder: Path) -> None:
    path = folder / "manifest.sig"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"algorithm": "none"}))
    with pytest.raises(SetupError, match="damaged"):
        Model.load(folder / "beats.tflite")


def test_a_signature_of_the_bare_bytes_is_no_signature_of_models(folder: Path, site_key: tuple[Path, str]) -> None:
    key, public = site_key
    bare = signing._private(key).sign((folder / "manifest.json").read_bytes())
    facts = {"algorithm": "Ed25519", "key": public, "signature": bare.hex()}
    (folder / "manifest.sig").write_text(json.dumps(facts))
    with pytest.raises(SetupError, match="other bytes"):
        Manifest.load(folder / "manifest.json", more_keys=lambda: (public,))


def test_swapped_files_are_refused(folder: Path) -> None:
    (folder / "beats.tflite").rename(folder / "other")
    (folder / "rhythm.tflite").rename(folder / "beats.tflite")
    with pytest.raises(SetupError, match="files were swapped"):
        Model.load(folder / "beats.tflite")


def test_a_sites_own_key_is_believed_only_where_the_settings_name_it(
    folder: Path, site_key: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, public = site_key
    assert signing.sign(folder / "manifest.json", key) == public
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("BEDSIDE_HOME", str(home))
    with pytest.raises(SetupError, match="not believed here") as caught:
        Model.load(folder / "beats.tflite")
    assert "signers" in caught.value.hint
    (home / "bedside.toml").write_text(f'signers = ["{public}"]\n')
    assert Model.load(folder / "beats.tflite").name == "beats"
    assert checking.check(folder).signer == public


def test_a_key_that_others_may_read_does_not_sign(folder: Path, site_key: tuple[Path, str]) -> None:
    key, _ = site_key
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    with pytest.raises(SetupError, match="others may read it"):
        signing.sign(folder / "manifest.json", key)


def test_a_key_is_never_written_over(site_key: tuple[Path, str]) -> None:
    before = site_key[0].read_bytes()
    with pytest.raises(SetupError, match="exists"):
        signing.new_key(site_key[0])
    assert site_key[0].read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused(folder: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SetupError, match="no private key"):
        signing.sign(folder / "manifest.json", path)


def test_a_set_that_answers_otherwise_than_signed_is_refused(folder: Path, site_key: tuple[Path, str]) -> None:
    """The digest of the outputs is checked by running: here the manifest promises other outputs."""
    key, public = site_key
    manifest = folder / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["models"]["rhythm"]["outputs_sha256"] = "0" * 64
    manifest.write_text(json.dumps(facts))
    signing.sign(manifest, key)
    with pytest.raises(SetupError, match="10000 fixed windows"):
        checking.check(folder, lambda: (public,))


def test_a_set_that_lacks_a_model_is_refused(folder: Path, site_key: tuple[Path, str]) -> None:
    key, public = site_key
    manifest = folder / "manifest.json"
    facts = json.loads(manifest.read_text())
    del facts["models"]["rhythm"]
    manifest.write_text(json.dumps(facts))
    signing.sign(manifest, key)
    with pytest.raises(SetupError, match="lacks rhythm"):
        checking.check(folder, lambda: (public,))


def test_training_signs_with_the_key_it_is_given_and_else_leaves_the_models_unsigned(
    folder: Path, site_key: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _signed(folder, site_key[0])
    assert json.loads((folder / "manifest.sig").read_text())["key"] == site_key[1]
    _signed(folder, None)
    assert not (folder / "manifest.sig").exists()
    assert "nothing runs it yet" in capsys.readouterr().err
    with pytest.raises(SetupError, match="not signed"):
        Model.load(folder / "beats.tflite")


def test_the_commands_make_a_key_sign_and_verify(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner().invoke
    key = tmp_path / "own.key"
    made = run(models, ["key", str(key)])
    assert made.exit_code == 0
    public = made.output.split('"')[1]
    assert run(models, ["sign", str(folder), "--key", str(key)]).exit_code == 0
    monkeypatch.setenv("BEDSIDE_HOME", str(tmp_path))
    refused = run(models, ["verify", str(folder)])
    assert isinstance(refused.exception, SetupError)
    monkeypatch.setenv("BEDSIDE_SIGNERS", json.dumps([public]))
    verified = run(models, ["verify", str(folder)])
    assert verified.exit_code == 0
    assert verified.output.count("answers as signed") == 2
    assert json.loads(run(models, ["verify", "--json"]).output)["signer"] in signing.RELEASE_KEYS
