"""Where a price comes from, in which order, and which edition is stamped on it."""

import subprocess
import sys
import time
from decimal import Decimal

import pytest

from farthing.cost import PriceBook
from farthing.cost.entry import price_from_entry, rate_from_usd
from farthing.cost.litellm_map import PriceMap, load_price_map
from farthing.cost.price import RATES_PER_NANO as NANO
from farthing.settings import CostSettings, Price
from farthing.telemetry import Usage

MAP = PriceMap(
    "test:1",
    {
        "gpt-5": {
            "input_cost_per_token": Decimal("1.25e-06"),
            "output_cost_per_token": Decimal("1e-05"),
            "cache_read_input_token_cost": Decimal("1.25e-07"),
            "input_cost_per_token_priority": Decimal("2.5e-06"),
            "litellm_provider": "openai",
            "max_input_tokens": 272000,
            "max_output_tokens": 128000,
        },
        "azure/gpt-5": {
            "input_cost_per_token": Decimal("2e-06"),
            "output_cost_per_token": Decimal("2e-05"),
            "litellm_provider": "azure",
        },
        "per-image": {"output_cost_per_image": Decimal("0.04"), "litellm_provider": "openai"},
        "half": {"input_cost_per_token": Decimal("1e-06"), "mode": "chat"},
        "embed": {"input_cost_per_token": Decimal("1e-07"), "mode": "embedding"},
        "free": {"input_cost_per_token": 0, "output_cost_per_token": Decimal("0.0")},
    },
)
BOOK = PriceBook(price_map=MAP)


def per_token(name: str, **more: object) -> tuple[int, int, int]:
    price = BOOK.price(name, **more)  # type: ignore[arg-type]
    assert price is not None
    rates = price.rates_at(1)
    return rates.input // NANO, rates.output // NANO, rates.cache_read // NANO


def test_a_model_is_found_with_and_without_its_provider() -> None:
    for name in ("gpt-5", "openai/gpt-5", "openai/responses/gpt-5"):
        assert per_token(name) == (1250, 10_000, 125)
    assert per_token("azure/gpt-5") == per_token("gpt-5", provider="azure") == (2000, 20_000, 2000)
    assert per_token("gpt-5", provider="openai") == (1250, 10_000, 125)
    price = BOOK.price("openai/gpt-5")
    assert price is not None
    assert (price.provider, price.max_input_tokens, price.max_output_tokens) == ("openai", 272000, 128000)


def test_a_model_of_another_provider_is_not_priced_by_its_name() -> None:
    for name in (
        "ollama/gpt-5",
        "hosted_vllm/gpt-5",
        "open/gpt-5",
        "openai_like/gpt-5",
        "nobody/knows",
        "",
        "gpt-5/",
        "/gpt-5",
    ):
        assert BOOK.price(name) is None


def test_no_price_per_token_is_unpriced_and_zero_is_free() -> None:
    assert BOOK.price("per-image") is None
    assert BOOK.price("half") is None
    assert per_token("free") == (0, 0, 0)
    assert per_token("embed") == (100, 0, 100)


def test_farthing_yaml_wins_over_the_deployment_and_that_over_the_map() -> None:
    own = CostSettings(prices={"gpt-5": Price(input=Decimal("0.5"), output=Decimal("2"), source="local")})
    book = PriceBook(own, MAP)
    explicit = {"input_cost_per_token": 3e-07, "output_cost_per_token": 9e-07, "id": "d1", "mode": None}
    mine, theirs = book.price("gpt-5", explicit), BOOK.price("gpt-5", explicit)
    assert mine is not None
    assert theirs is not None
    assert (mine.rates_at(1).input, mine.rates_at(1).cache_read) == (500 * NANO, 500 * NANO)
    assert (mine.source, mine.max_output_tokens, mine.provider) == ("local", 128000, "openai")
    # A negotiated price is not mixed with the list price of what it leaves out.
    assert (theirs.rates_at(1).input, theirs.rates_at(1).cache_read) == (300 * NANO, 300 * NANO)
    assert (theirs.source, theirs.max_output_tokens) == ("provider", 128000)


def test_overrides_are_exact_names_and_may_price_the_cache() -> None:
    price = Price(
        input=Decimal(3), output=Decimal(15), cache_read=Decimal("0.3"), cache_write=Decimal("3.75")
    )
    book = PriceBook(CostSettings(prices={"local": price}), MAP)
    found = book.price("local")
    assert found is not None
    assert book.price("openai/local") is None
    assert (
        book.cost(found, Usage(1000, 10, 100, 200)).total == 700 * 3000 + 10 * 15000 + 100 * 300 + 200 * 3750
    )


def test_a_deployment_may_price_a_part_over_the_list() -> None:
    assert per_token("gpt-5", explicit={"input_cost_per_token": "1e-6"}) == (1000, 10_000, 125)
    assert BOOK.price("unknown", {"input_cost_per_token": 1e-06}) is None
    assert BOOK.price("unknown", {"input_cost_per_token": 0, "output_cost_per_token": 0.0}) is not None
    assert BOOK.price("unknown", {"input_cost_per_second": 0.1, "id": "x"}) is None


def test_a_service_tier_has_its_own_price_where_it_has_one() -> None:
    assert per_token("gpt-5", service_tier="priority") == (2500, 10_000, 125)
    assert per_token("gpt-5", service_tier="flex") == (1250, 10_000, 125)
    assert per_token("gpt-5", service_tier="auto") == (1250, 10_000, 125)


def test_the_version_names_the_data_of_every_price() -> None:
    own = CostSettings(prices={"a": Price(input=Decimal(1), output=Decimal(1))})
    other = CostSettings(prices={"a": Price(input=Decimal(1), output=Decimal(2))})
    versions = [PriceBook(settings, MAP).version for settings in (None, own, other)]
    assert versions[0] == "test:1"
    assert versions[1].startswith("test:1+farthing.yaml-")
    assert len(set(versions)) == 3
    listed = BOOK.price("gpt-5")
    explicit = [
        BOOK.price("gpt-5", {"input_cost_per_token": usd, "output_cost_per_token": usd})
        for usd in (1e-6, 2e-6)
    ]
    assert len({price.version for price in (listed, *explicit) if price}) == 3


def test_floats_are_the_decimals_they_print_as() -> None:
    assert rate_from_usd(1.25e-06, "x") == 1250 * NANO
    assert rate_from_usd(0.1 + 0.2, "x") == 300000000000000040 * 10**6 * NANO // 10**15
    assert rate_from_usd("3e-7", "x") == rate_from_usd(Decimal("3e-7"), "x") == 300 * NANO
    assert rate_from_usd(1, "x") == 10**9 * NANO


@pytest.mark.parametrize("bad", ["free", float("nan"), float("inf"), -1e-06, True, [1], "1e999999999", 5000])
def test_what_is_no_price_is_refused_by_name(bad: object) -> None:
    with pytest.raises(ValueError, match=r"input_cost_per_token: .* is not a price"):
        BOOK.price("gpt-5", {"input_cost_per_token": bad, "output_cost_per_token": 0})


def test_thresholds_of_any_size_apply_to_the_whole_call() -> None:
    entry = {
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 5e-06,
        "cache_read_input_token_cost": 1e-07,
        "input_cost_per_token_above_272k_tokens": 2e-06,
        "output_cost_per_token_above_272k_tokens": 8e-06,
        "input_cost_per_token_above_128_tokens": 15e-07,
        "input_cost_per_token_above_272k_tokens_priority": 9e-06,
    }
    price = price_from_entry("m", entry)
    assert price is not None
    assert [start for start, _ in price.tiers] == [0, 129, 272_001]
    assert [rates.input // NANO for _, rates in price.tiers] == [1000, 1500, 2000]
    assert [rates.output // NANO for _, rates in price.tiers] == [5000, 5000, 8000]
    assert [rates.cache_read // NANO for _, rates in price.tiers] == [100, 100, 100]
    xai = price_from_entry("m", {**entry, "litellm_provider": "xai"})
    assert xai is not None
    assert [start for start, _ in xai.tiers] == [0, 128, 272_000]


def test_every_entry_of_litellms_map_is_understood() -> None:
    priced = [name for name in load_price_map().entries if PriceBook().price(name) is not None]
    assert len(priced) > 2000
    assert "sample_spec" not in priced


def test_the_map_is_read_without_importing_litellm_and_fast() -> None:
    code = (
        "import sys, time; from farthing.cost import PriceBook, count_text; t = time.perf_counter();"
        "book = PriceBook(); took = time.perf_counter() - t; assert book.price('gpt-5');"
        "assert count_text('hello world') == 2; assert 'litellm' not in sys.modules; print(took)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(ran.stdout) < 0.5
    took = []
    for _ in range(9):
        started = time.perf_counter()
        PriceBook()
        took.append(time.perf_counter() - started)
    assert sorted(took)[4] < 0.01, "the parsed map is kept for the process"


def test_the_version_names_litellm_and_the_digest_of_its_map() -> None:
    assert PriceBook().version.startswith("litellm-1.")
    assert len(PriceBook().version.partition(":sha256-")[2]) == 8
