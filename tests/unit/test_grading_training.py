"""The benchmark and the training: metrics that are right by hand, and a fit that is the same twice."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.routing import metrics, train
from bench.routing.calibrate import calibrate
from bench.routing.data import DataError, Source, folder, own_prompts
from bench.routing.fit import fit, sheet, totals
from bench.routing.gadgets import KNOWN, MOST, pushed, search, with_gadget
from farthing.embedding import Embedder
from farthing.grading import task_from
from farthing.grading.learned import artifact
from farthing.grading.learned.calibration import Calibration

EMBEDDER = Embedder.load()


def made_up(name: str, rows: int = 120) -> Source:
    """A source whose longer asks are the harder ones."""
    texts = [f"Count the {' and the '.join(['red stones'] * (1 + i % 7))} in box {i}." for i in range(rows)]
    hard = np.array([i % 7 / 6 for i in range(rows)])
    prompts = [{"prompt": text} for text in texts]
    pairs = {"a > b": (1 - hard, np.ones(rows))}
    groups = np.array([f"{name} {i % 3}" for i in range(rows)])
    return Source(
        name, [task_from(p) for p in prompts], groups, 1 - hard, 1 - hard / 4, np.ones(rows), pairs, prompts
    )


def test_apgr_is_one_half_for_ties_and_rises_with_the_order() -> None:
    gain = np.array([1.0, 0.0, 0.0, 1.0])
    assert metrics.apgr(np.zeros(4), gain) == pytest.approx(0.5)
    assert metrics.apgr(np.array([3.0, 1.0, 0.0, 2.0]), gain) == pytest.approx(0.75)
    assert metrics.apgr(np.array([0.0, 2.0, 3.0, 1.0]), gain) == pytest.approx(0.25)


def test_cpt_and_the_frozen_threshold_are_right_by_hand() -> None:
    score, cheap, strong = np.array([4.0, 3.0, 2.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4)
    assert metrics.cpt(score, strong - cheap, 0.5) == pytest.approx(0.25)
    assert metrics.threshold(score, cheap, strong, 0.75, np.ones(4)) == 4.0
    assert metrics.threshold(score, cheap, strong, 1.0, np.ones(4)) == 3.0
    assert metrics.threshold(score, cheap, strong, 0.5, np.ones(4)) == float("inf")


def test_ece_is_zero_for_a_calibrated_score() -> None:
    assert metrics.ece(
        np.full(100, 0.3), np.array([1.0] * 3 + [0.0] * 7)[np.arange(100) % 10]
    ) == pytest.approx(0)
    assert metrics.ece(np.full(100, 0.9), np.zeros(100)) == pytest.approx(0.9)


def test_a_fit_learns_the_order_and_is_the_same_twice(tmp_path: Path) -> None:
    sources = [made_up("gsm8k"), made_up("bfcl")]
    sheets = [sheet(source, EMBEDDER) for source in sources]
    own = sheet(own_prompts(), EMBEDDER)
    for name in ("one.npz", "two.npz"):
        model = fit(sheets, own, EMBEDDER, trees=5)
        artifact.write(tmp_path / name, model, Calibration([(0.9, 0.3, 0.7)]), {"sources": {}})
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = artifact.read(tmp_path / "one.npz").model
    found = totals(read, sheets[0].readings)
    assert metrics.apgr(found, sources[0].gain) > 0.6
    assert np.allclose(found, totals(model, sheets[0].readings))


def test_the_dials_cuts_fall_as_the_quality_rises() -> None:
    source, own = made_up("gsm8k"), own_prompts()
    assert own.levels is not None
    scored = [(source, np.clip(0.1 + 0.8 * (1 - source.local), 0.01, 0.99)), (own, 0.05 + 0.9 * own.levels)]
    rows = calibrate(scored, 0.5).rows
    assert all(a[1] >= b[1] and a[2] >= b[2] and a[0] < b[0] for a, b in pairwise(rows))
    assert all(medium <= high for _, medium, high in rows)


def test_the_data_folder_must_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FARTHING_ROUTING_DATA", raising=False)
    with pytest.raises(DataError, match="FARTHING_ROUTING_DATA"):
        folder(None)
    with pytest.raises(DataError, match="holds no"):
        folder(tmp_path)
    assert train.main(["--data", str(tmp_path)]) == 2


def test_gadgets_are_many_short_and_put_at_either_end() -> None:
    assert len(set(KNOWN)) >= 50
    assert all(len(gadget) <= MOST for gadget in KNOWN)
    call = {"messages": [{"role": "user", "content": "b"}], "tools": []}
    assert with_gadget({"prompt": "b"}, "a", before=True) == {"prompt": "a b"}
    assert with_gadget(call, "a", before=False)["messages"] == [{"role": "user", "content": "b a"}]


def test_the_search_finds_what_a_naive_score_falls_for() -> None:
    found = search(lambda prompt: str(prompt["prompt"]).count("e"), [{"prompt": "hi"}], 2)
    assert found
    assert all(len(gadget) <= MOST for gadget in found)
    shares = pushed(
        lambda prompt: len(str(prompt["prompt"])) > 60, [{"prompt": "hi"}], ["short", "long " * 20]
    )
    assert list(shares.values()) == [0, 1]
