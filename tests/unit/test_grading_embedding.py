"""The embeddings: offline, the same every time, bounded, and near for texts that mean alike."""

import socket
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing import embedding
from farthing.embedding import WINDOW, Embedder

EMBEDDER = Embedder.load()


def test_texts_that_mean_alike_are_near() -> None:
    cancel, stop, bread = map(
        EMBEDDER.embed, ("How do I cancel my order?", "I want to stop my order", "A recipe for rye bread")
    )
    assert cancel @ stop > cancel @ bread + 0.2


def test_loading_asks_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    assert np.array_equal(Embedder.load().embed("the same text"), EMBEDDER.embed("the same text"))


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install 'wordllama"):
        Embedder.load()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_any_text_has_a_unit_vector_or_none(text: str) -> None:
    vector = EMBEDDER.embed(text)
    assert vector.shape == (256,)
    assert vector.dtype == np.float32
    length = float(np.linalg.norm(vector))
    assert length == 0 or length == pytest.approx(1, abs=1e-4)
    assert np.array_equal(vector, EMBEDDER.embed(text))


def test_what_was_read_before_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Quantities of copper wire, measured twice, are stored in the northern shed."
    first = EMBEDDER.embed(text)
    monkeypatch.setattr(embedding, "_CACHED_PIECES", 5)
    for number in range(20):
        EMBEDDER.embed(f"word{number} other{number} third{number}")
    assert np.array_equal(first, EMBEDDER.embed(text))


def test_of_a_long_text_the_ends_are_embedded() -> None:
    head, tail = "alpha " * 200, "omega " * 200
    middle = EMBEDDER.embed(head + "nothing " * 10 + tail)
    assert np.array_equal(middle, EMBEDDER.embed(head + "something else " * 20_000 + tail))
    assert len(head) == len(tail) == 2 * WINDOW


@pytest.mark.parametrize("piece", ["a", "日", "\n", "é́", "\0", "\ud800", "🙂 "])
def test_a_megabyte_is_embedded_in_bounded_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    times = []
    for _ in range(3):
        started = time.perf_counter()
        EMBEDDER.embed(text)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.010
