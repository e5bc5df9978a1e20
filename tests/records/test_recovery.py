"""Recovery codes: enough of them open a box whose passphrase is lost or whose TPM is dead, fewer tell nothing."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records.records_world import CHEAP, T0_US, opened, patient, same_blocks, second, stream

from bedside.core.errors import SetupError
from bedside.core.ports import Batch
from bedside.records import recovery, tpm
from bedside.records.backup import backup, restore
from bedside.records.boxkey import ByTpm
from bedside.records.cli import records
from bedside.records.keys import KeyRing
from bedside.records.recovery import join, key_from, new_codes, split
from bedside.records.store import open_reader
from bedside.settings import Home

pytestmark = pytest.mark.requirement("REC-009")

ADA = patient("Ada")
LEAD = stream(ADA)
END = T0_US + 10**12
PCRS = "sha256:0,2,4,7"


@given(
    secret=st.binary(min_size=1, max_size=40), numbers=st.tuples(st.integers(2, 6), st.integers(0, 4)), data=st.data()
)
@settings(max_examples=60)
def test_any_threshold_of_the_shares_give_the_secret_back(
    secret: bytes, numbers: tuple[int, int], data: st.DataObject
) -> None:
    threshold, more = numbers
    shares = dict(enumerate(split(secret, threshold, threshold + more), 1))
    chosen = data.draw(st.permutations(sorted(shares)))
    assert join((place, shares[place]) for place in chosen[:threshold]) == secret
    assert join(shares.items()) == secret


def test_one_share_too_few_fits_every_secret() -> None:
    """With 2 of 3 shares, each possible byte of the secret has exactly one third share that gives it."""
    shares = dict(enumerate(split(b"\x42", 3, 3), 1))
    possible = {join([(1, shares[1]), (2, shares[2]), (3, bytes([third]))]) for third in range(256)}
    assert possible == {bytes([value]) for value in range(256)}


def test_the_field_is_that_of_aes() -> None:
    assert recovery._times(0x57, 0x83) == 0xC1  # FIPS 197, 4.2
    for value in range(1, 256):
        assert recovery._times(value, recovery._over(1, value)) == 1


def test_codes_survive_being_typed_and_a_mistyped_one_is_named() -> None:
    codes, key = new_codes(3, 5)
    for chosen in itertools.combinations(codes, 3):
        assert key_from(chosen).raw == key.raw
    sloppy = [code.lower().replace("-", " ").replace("0", "o").replace("1", "l") for code in codes[:3]]
    assert key_from(sloppy).raw == key.raw
    letters = codes[1].replace("-", "")
    for at in range(len(letters)):
        wrong = letters[:at] + ("2" if letters[at] != "2" else "3") + letters[at + 1 :]
        with pytest.raises(SetupError, match="code 2 is mistyped"):
            key_from([codes[0], wrong, codes[2]])


def test_too_few_the_same_twice_or_of_another_print_are_refused() -> None:
    codes, _ = new_codes(3, 5)
    others, _ = new_codes(3, 5)
    for chosen in (codes[:2], [codes[0], codes[0], codes[1]]):
        with pytest.raises(SetupError, match="3 are needed"):
            key_from(chosen)
    with pytest.raises(SetupError, match="do not belong together"):
        key_from([*codes[:2], others[2]])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BEDSIDE_PASSPHRASE_FILE", raising=False)
    monkeypatch.delenv(tpm.TCTI_VARIABLE, raising=False)
    store = opened(tmp_path / "home", passphrase="to be lost")
    store.put_patient(ADA)
    for at_s in range(3):
        store.write(Batch([second(LEAD, at_s)], []))
    store.close()
    return tmp_path / "home"


def whole(home: Path, passphrase: str | None) -> None:
    store = opened(home, passphrase=passphrase)
    assert same_blocks(store.blocks(LEAD.id, T0_US, END), [second(LEAD, at_s) for at_s in range(3)])
    store.close()


def ring(home: Path, passphrase: str | None = None) -> KeyRing:
    return KeyRing.open(home / "keys", passphrase=passphrase, cost=CHEAP)


def test_a_lost_passphrase_is_replaced_by_codes_also_after_the_box_key_was_changed(home: Path) -> None:
    codes = ring(home, "to be lost").new_recovery_codes(2, 3)
    ring(home, "to be lost").rotate()
    with pytest.raises(SetupError, match="none was given"):
        opened(home)
    done = CliRunner().invoke(records, ["recover", "--home", str(home)], input=f"{codes[2]}\n{codes[0]}\n\nnew\nnew\n")
    assert done.exit_code == 0, done.output
    assert "2 of 3 recovery codes" in done.output
    whole(home, "new")
    with pytest.raises(SetupError):
        ring(home, "to be lost")


def test_codes_that_are_not_enough_change_nothing(home: Path) -> None:
    keys = ring(home, "to be lost")
    codes = keys.new_recovery_codes(3, 5)
    newer = keys.new_recovery_codes(3, 5)
    before = (home / "keys" / "box.key").read_bytes()
    for given_codes, word in ((newer[:2], "are needed"), (codes[:3], "not its newest")):
        with pytest.raises(SetupError, match=word):
            KeyRing.open(home / "keys", passphrase=None, codes=given_codes)
    assert (home / "keys" / "box.key").read_bytes() == before
    whole(home, "to be lost")


def test_no_code_lies_in_any_file(home: Path) -> None:
    codes = ring(home, "to be lost").new_recovery_codes(2, 3)
    shares = [recovery._parts(code, 1)[3] for code in codes]
    everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    for share, code in zip(shares, codes, strict=True):
        assert share not in everything
        assert share.hex().encode() not in everything
        assert code[:11].encode() not in everything


def test_a_backup_is_opened_by_codes_on_another_box(home: Path, tmp_path: Path) -> None:
    codes = ring(home, "to be lost").new_recovery_codes(2, 3)
    reader = open_reader(Home(home), passphrase="to be lost")
    backup(reader, tmp_path / "monday", now_us=T0_US)
    reader.close()
    restore(tmp_path / "monday", Home(tmp_path / "new"), passphrase=None, codes=codes[:2])
    KeyRing.open(tmp_path / "new" / "keys", passphrase=None, codes=codes[1:]).change_passphrase("new", CHEAP)
    whole(tmp_path / "new", "new")


class SoftwareTpm:
    """A TPM 2.0 in software (swtpm): its state lies in a folder, as a chip's lies in the chip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Power on: the boot state is that of a machine on which nothing was measured yet."""
        self.folder.mkdir(exist_ok=True)
        for _ in range(5):  # two ports that follow one another and are free
            self.port = _free_port()
            self._process = subprocess.Popen(
                ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}",
                 "--server", f"type=tcp,port={self.port}", "--ctrl", f"type=tcp,port={self.port + 1}",
                 "--flags", "startup-clear"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            if self._answers():
                break
            self.off()
        os.environ[tpm.TCTI_VARIABLE] = f"swtpm:host=127.0.0.1,port={self.port}"

    def _answers(self) -> bool:
        assert self._process is not None
        for _ in range(100):
            if self._process.poll() is not None:
                return False
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port + 1)) == 0:
                    return True
            time.sleep(0.05)
        return False

    def measure(self, pcr: int, digest: str) -> None:
        """What firmware does with what it boots."""
        subprocess.run(["tpm2", "pcrextend", f"{pcr}:sha256={digest}"], check=True, capture_output=True)

    def off(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _free_port() -> int:
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


@pytest.fixture
def chip(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftwareTpm]:
    monkeypatch.setenv(tpm.TCTI_VARIABLE, "")
    made = SoftwareTpm(tmp_path / "chip")
    made.boot()
    yield made
    made.off()


def test_a_key_sealed_to_the_tpm_comes_back_only_on_that_chip_in_that_boot_state(
    chip: SoftwareTpm, home: Path, tmp_path: Path
) -> None:
    keys = ring(home, "to be lost")
    codes = keys.new_recovery_codes(2, 3)
    box_key = keys._box_key
    keys.protect(ByTpm(PCRS))
    assert "TPM" in keys.describe()
    held = (home / "keys" / "box.key").read_bytes()
    assert box_key not in held
    assert box_key.hex().encode() not in held
    whole(home, None)  # no person, no passphrase
    chip.off()
    chip.boot()
    whole(home, None)  # after a reboot into the same state
    keys = ring(home)
    keys.rotate()
    assert ring(home)._box_key != box_key  # a new box key is sealed to it, too
    whole(home, None)

    chip.measure(4, "ab" * 32)  # another boot loader
    with pytest.raises(SetupError, match="boot state") as caught:
        opened(home)
    assert "recover" in caught.value.hint
    chip.off()

    shutil.rmtree(chip.folder)  # the chip is dead, a new one takes its place
    chip.boot()
    with pytest.raises(SetupError, match="TPM refuses"):
        opened(home)
    drill = KeyRing.open(home / "keys", passphrase=None, codes=codes[:2])
    drill.protect(ByTpm(PCRS))
    whole(home, None)


def test_the_command_seals_to_a_tpm_only_with_recovery_codes_made(
    chip: SoftwareTpm, home: Path, tmp_path: Path
) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("to be lost")
    env = {"BEDSIDE_PASSPHRASE_FILE": str(phrase)}
    words = ["--home", str(home)]
    refused = CliRunner().invoke(records, ["protect", *words], env=env)
    assert isinstance(refused.exception, SetupError)
    assert "dead TPM" in str(refused.exception)
    made = CliRunner().invoke(records, ["codes", "--shares", "3", "--threshold", "2", *words], env=env)
    assert made.exit_code == 0, made.output
    assert CliRunner().invoke(records, ["protect", *words], env=env).exit_code == 0
    whole(home, None)
    assert '"tpm"' in (home / "keys" / "box.key").read_text()


def test_without_a_tpm_the_sealed_key_is_refused_in_words(
    chip: SoftwareTpm, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring(home, "to be lost").protect(ByTpm(PCRS))
    chip.off()
    with pytest.raises(SetupError, match="TPM"):
        opened(home)
    monkeypatch.delenv(tpm.TCTI_VARIABLE)
    with pytest.raises(SetupError, match="no TPM"):
        opened(home)
