"""What is sealed opens in its own place, with its own key, and nowhere else."""

import base64
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.context.memory import RecollectionError
from farthing.context.memory_file import FileMemory
from farthing.context.sealing import check_key, new_key, sealer_of

KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
OWNER, OTHER = sealer_of("").name("owner", "ada"), sealer_of("").name("owner", "bob")
ROW = sealer_of("").name("original", "ref-1")
TEXT = b"the invoice is 1,240.50 EUR"


@pytest.fixture(params=["", KEY, "sixteen letters!"], ids=["plain", "made", "typed"])
def sealer(request):
    return sealer_of(request.param)


@given(st.binary(), st.sampled_from(["", KEY]))
def test_what_is_sealed_opens_in_its_place(content, key):
    sealer = sealer_of(key)
    assert sealer.unseal(OWNER, ROW, sealer.seal(OWNER, ROW, content)) == content


def test_a_moved_text_does_not_open(sealer):
    sealed = sealer.seal(OWNER, ROW, TEXT)
    assert sealer.unseal(OTHER, ROW, sealed) is None
    assert sealer.unseal(OWNER, sealer.name("original", "ref-2"), sealed) is None


def test_a_damaged_text_does_not_open(sealer):
    sealed = sealer.seal(OWNER, ROW, TEXT)
    for at in range(len(sealed)):
        assert sealer.unseal(OWNER, ROW, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]) is None
        assert sealer.unseal(OWNER, ROW, sealed[:at]) is None
    assert sealer.unseal(OWNER, ROW, sealed + b"!") is None
    for not_bytes in (None, 7, 0.5, "text"):
        assert sealer.unseal(OWNER, ROW, not_bytes) is None


def test_a_key_hides_the_text_and_no_two_sealed_texts_are_alike():
    sealer = sealer_of(KEY)
    one, two = sealer.seal(OWNER, ROW, TEXT), sealer.seal(OWNER, ROW, TEXT)
    assert one != two
    assert not any(TEXT[at : at + 4] in one for at in range(len(TEXT) - 3))


def test_another_key_opens_nothing_and_names_nothing_alike():
    keys = ["", KEY, new_key(), "sixteen letters!", "sixteen letters?"]
    sealers = [sealer_of(key) for key in keys]
    assert len({sealer.name("user", "ada") for sealer in sealers}) == len(keys)
    assert len({sealer.key_id for sealer in sealers}) == len(keys)
    for sealer in sealers:
        sealed = sealer.seal(OWNER, ROW, TEXT)
        opened = [other.unseal(OWNER, ROW, sealed) for other in sealers]
        assert [text == TEXT for text in opened] == [other is sealer for other in sealers]


@pytest.mark.parametrize("key", [KEY, KEY.rstrip("="), f" {KEY}\n"])
def test_a_key_is_the_same_however_it_was_pasted(key):
    assert sealer_of(key).unseal(OWNER, ROW, sealer_of(KEY).seal(OWNER, ROW, TEXT)) == TEXT


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_different_things_have_different_names(one, two):
    sealer = sealer_of(KEY)
    assert (sealer.name("owner", *one) == sealer.name("owner", *two)) == (one == two)
    assert sealer.name("owner", *one) != sealer.name("user", *one)


def test_a_short_key_is_refused_without_being_shown():
    for good in ("", "x" * 16, KEY):
        assert check_key(good) == good
    with pytest.raises(ValueError, match="at least 16 characters") as refused:
        check_key("hunter2")
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ValueError, match="at least 16"):
        sealer_of(" " * 40)


def test_a_new_key_is_another_each_time():
    keys = {new_key() for _ in range(20)}
    assert len(keys) == 20
    assert {len(base64.urlsafe_b64decode(key)) for key in keys} == {32}


def test_a_key_that_cannot_be_used_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "context.db"
    with pytest.raises(RecollectionError, match=r"context\.key must have at least 16"):
        FileMemory(path, key="short", retention_s=60)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(RecollectionError, match="pip install 'farthing"):
        FileMemory(path, key=KEY, retention_s=60)
    assert not path.exists()
    FileMemory(path, retention_s=60).close()
