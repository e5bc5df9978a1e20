"""Bonds on disk, in an export, and the labels: nobody without the key reads them, nothing altered is believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.ble.bonds import BondStore, seal, seal_export, unseal, unseal_export
from bedside.ble.labels import LETTERS, label_of, read_label, spaced
from bedside.ble.pairing import BondLevel, Identity, Pairing, Register
from bedside.core.errors import SetupError, StoreError

pytestmark = pytest.mark.requirement("BLE-007")

KEY = bytes(range(32))
LTK = "00112233445566778899aabbccddeeff"
WORDS = "four words are enough"


def pairing(number: int = 1) -> Pairing:
    return Pairing(
        wearable=f"w{number}",
        patient="p1",
        identity=Identity(address=f"C0:00:00:00:00:{number:02X}", name="Strap", model="H", serial=str(number)),
        level=BondLevel.AUTHENTICATED,
        paired_us=5,
        user_index=2,
        keys={"stack": "bumble", "keys": LTK},
    )


REGISTER = Register((pairing(1), pairing(2)))


def test_what_is_kept_comes_back_and_tells_nothing_without_the_key(tmp_path: Path) -> None:
    path = tmp_path / "pairings.sealed"
    BondStore(path, KEY).put(REGISTER)
    content = path.read_bytes()
    for secret in (LTK.encode(), bytes.fromhex(LTK), b"C0:00", b"Strap", b"p1"):
        assert secret not in content
    assert LTK.encode() in repr(pairing().keys).encode(), "the control: it can be seen where it is in the clear"
    assert path.stat().st_mode & 0o777 == 0o600
    assert BondStore(path, KEY).register == REGISTER
    with pytest.raises(StoreError):
        BondStore(path, bytes(32))
    assert LTK not in repr(REGISTER)


def test_the_same_register_is_never_sealed_alike() -> None:
    assert seal(REGISTER, KEY) != seal(REGISTER, KEY)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_or_cut_byte_is_refused_whole(data: st.DataObject) -> None:
    sealed = bytearray(seal(REGISTER, KEY))
    at = data.draw(st.integers(0, len(sealed) - 1))
    if data.draw(st.booleans()):
        sealed[at] ^= data.draw(st.integers(1, 255))
    else:
        del sealed[at:]
    with pytest.raises(StoreError):
        unseal(bytes(sealed), KEY)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_rubbish_is_no_file_of_pairings(rubbish: bytes) -> None:
    with pytest.raises(StoreError):
        unseal(rubbish, KEY)


def test_an_export_opens_with_its_passphrase_alone_and_proves_nothing_yet() -> None:
    sealed = seal_export(REGISTER.pairings, WORDS, memory_kib=64)
    brought = unseal_export(sealed, WORDS)
    assert [one.wearable for one in brought] == ["w1", "w2"]
    assert [one.keys for one in brought] == [one.keys for one in REGISTER.pairings]
    assert not any(one.proven for one in brought)
    for data, words in ((sealed, "other words entirely"), (sealed[:-1], WORDS), (sealed[:20] + b"\0" * 4, WORDS)):
        with pytest.raises(SetupError):
            unseal_export(data, words)
    with pytest.raises(SetupError, match="11 characters"):
        seal_export(REGISTER.pairings, "too short a")


addresses = st.integers(0, 2**48 - 1).map(lambda n: ":".join(f"{n:012X}"[i : i + 2] for i in range(0, 12, 2)))


@given(addresses)
def test_a_label_is_read_back_however_it_is_typed(address: str) -> None:
    label = label_of(KEY, address)
    assert read_label(label) == label == label_of(KEY, address.lower())
    assert read_label(f" {spaced(label).lower()} ") == label
    assert read_label(f"http://box.local:8460/pair#{label}") == label
    assert read_label(label.replace("0", "O").replace("1", "I")) == label


@given(addresses, st.integers(0, 5), st.sampled_from(LETTERS))
def test_one_mistyped_character_is_noticed(address: str, place: int, letter: str) -> None:
    label = label_of(KEY, address)
    typed = label[:place] + letter + label[place + 1 :]
    if typed != label:
        with pytest.raises(ValueError, match="mistyped"):
            read_label(typed)


@given(addresses, st.integers(0, 4))
def test_two_characters_in_the_wrong_order_are_noticed(address: str, place: int) -> None:
    label = label_of(KEY, address)
    typed = label[:place] + label[place + 1] + label[place] + label[place + 2 :]
    if typed != label:
        with pytest.raises(ValueError, match="mistyped"):
            read_label(typed)


def test_labels_of_another_site_are_others_and_few_collide() -> None:
    made = {label_of(KEY, f"C0:00:00:00:{n // 256:02X}:{n % 256:02X}") for n in range(500)}
    assert len(made) >= 499
    assert label_of(KEY, "C0:00:00:00:00:01") != label_of(bytes(32), "C0:00:00:00:00:01")
