"""An audit's figures are exact, its parts sum to the whole, and it says what it leaves out."""

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing import cli
from farthing.audit import AuditError, AuditOptions, audit
from farthing.audit.calls import PastCall, Recorded
from farthing.audit.grading import Judged, LearnedAssessor, assessor
from farthing.audit.notes import Facts
from farthing.audit.render import TOP_INTENTS, render
from farthing.audit.summary import DEAREST, Summary, wilson
from farthing.audit.verdict import Tariff, verdict
from farthing.cost import PriceBook
from farthing.grading import task_from
from farthing.grading.learned import ArtifactError, Assessment, Cuts
from farthing.money import nano_from_usd
from farthing.settings import CostSettings, Price, Settings
from farthing.telemetry import Usage


def price(sent, written, source="provider"):
    return Price(input=Decimal(sent), output=Decimal(written), source=source)


COST = CostSettings(baseline_model="big", prices={"big": price("10", "30"), "small": price("1", "2")})
BOOK = PriceBook(COST)
FREE = PriceBook(CostSettings(prices={"own": price("0", "0", "local")})).price("own")
TARIFF = Tariff(BOOK, FREE, BOOK.price("small"), "big")
USAGE = Usage(1_000, 100)  # big: 0.013 USD, small: 0.0012 USD


class WordGrader:
    """Grades by the words of the ask, so that a test knows each grade."""

    realm = method = "words"

    def judge(self, task):
        name = "HIGH" if "prove" in task.ask else "MEDIUM" if "compare" in task.ask else "LOW"
        perhaps = "HIGH" if "perhaps" in task.ask else "MEDIUM" if "maybe" in task.ask else name
        return Judged(name, perhaps, Fraction(1, 4) if "risky" in task.ask else Fraction(0))

    def recorded(self, record, grade):
        return Judged(grade, grade)


def past(prompt="list the ferries", **changes):
    values = {
        "name": "c", "started": None, "model": "big", "provider": "", "usage": USAGE,
        "payload": None if prompt is None else {"prompt": prompt},
    }  # fmt: skip
    return PastCall(**{**values, **changes})


def judged(call, tariff=TARIFF):
    return verdict(call, WordGrader(), tariff)


@pytest.mark.parametrize(
    ("call", "place", "paid", "saving"),
    [
        (past("list it"), "moves", 13_000_000, 13_000_000),
        (past("compare them"), "moves", 13_000_000, 11_800_000),
        (past("compare them perhaps"), "unsure", 13_000_000, 5_900_000),
        (past("compare them", cut=True), "unsure", 13_000_000, 5_900_000),
        (past("list it maybe"), "moves", 13_000_000, (13_000_000 + 11_800_000) // 2),
        (past("list it maybe", model="small"), "unsure", 1_200_000, 600_000),
        (past("prove it"), "strong", 13_000_000, 0),
        (past("compare them", model="small"), "fits", 1_200_000, 0),
        (past("list it", model="small"), "moves", 1_200_000, 1_200_000),
        (past("list it", model="unheard-of"), "unpriced", None, 0),
        (past("prove it", model="unheard-of"), "strong", None, 0),
        (past("list it", model=""), "moves", 13_000_000, 13_000_000),
        (past("list it", model="unheard-of", paid=7), "moves", 7, 7),
        (past("compare them", paid=1_200_001), "moves", 1_200_001, 1),
        (past("compare them", paid=1_200_000), "fits", 1_200_000, 0),
        (past(None), "unassessable", 13_000_000, 0),
        (past(" \n"), "unassessable", 13_000_000, 0),
    ],
)
def test_each_call_has_one_place_and_an_exact_saving(call, place, paid, saving):
    one = judged(call)
    assert (one.place, one.paid, one.saving) == (place, paid, saving)


def test_expected_climbs_are_paid_at_the_dearer_price():
    one = judged(past("compare them, it is risky"))
    assert (one.saving, one.most) == (13_000_000 - 1_200_000 - 3_250_000, 11_800_000)
    measured = replace(TARIFF, climbs={"MEDIUM": Fraction(1, 2)})
    assert judged(past("compare them, it is risky"), measured).saving == 11_800_000 - 6_500_000
    assert judged(past("list it, it is risky"), measured).saving == 13_000_000 - 3_250_000
    always = replace(TARIFF, climbs={"MEDIUM": Fraction(1)})
    lost = judged(past("compare them"), always)
    assert (lost.place, lost.saving, lost.most) == ("fits", 0, 0), "what would always climb is no saving"


def test_no_call_moves_to_a_tier_that_is_dearer():
    dear_local = replace(TARIFF, local=BOOK.price("big"))
    assert judged(past("list it"), dear_local).place == "fits"
    assert judged(past("compare it"), dear_local).saving == 11_800_000


def test_the_range_is_of_doubt_and_of_climbs():
    sums = summed([past("compare, risky"), past("compare, risky perhaps"), past("list it maybe")]).total
    assert sums.low == 8_550_000 + 0 + 11_800_000
    assert sums.expected == 8_550_000 + 4_275_000 + 12_400_000
    assert sums.high == 11_800_000 + 11_800_000 + 13_000_000


def test_a_recorded_call_keeps_its_grade_intent_and_cost():
    record = Recorded("LOW", 0.1, "learned", "ab" * 16, climbed=False)
    one = judged(past(None, recorded=record, paid=500))
    assert (one.place, one.intent, one.saving) == ("moves", "ab" * 16, 500)
    assert judged(past(None, recorded=record)).paid is None, "unpriced then stays unpriced"
    assert judged(past(None, recorded=replace(record, climbed=True), paid=500)).place == "fits"
    assert judged(past(None, recorded=replace(record, grade=None), paid=500)).place == "unassessable"


def summed(calls, tariff=TARIFF):
    summary = Summary()
    for call in calls:
        summary.add(judged(call, tariff))
    return summary


calls = st.lists(
    st.builds(
        past,
        st.sampled_from(
            ["list it", "list, risky", "compare, risky", "compare perhaps", "prove it", "list, maybe", None]
        ),
        model=st.sampled_from(["big", "small", "unheard-of", ""]),
        usage=st.builds(Usage, st.integers(0, 10**7), st.integers(0, 10**6)),
        paid=st.none() | st.integers(1, 10**12),
        estimated=st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


@given(calls, st.fractions(0, 1, max_denominator=1000))
def test_parts_sum_to_the_whole_to_the_nano_dollar(many, share):
    tariff = replace(TARIFF, climbs={"LOW": share})
    summary = summed(many, tariff)
    total = summary.total
    assert total.calls == len(many) == sum(total.places.values()) == sum(total.tiers.values())
    for parts in (summary.by_cost, summary.by_tier):
        for name in (
            "calls",
            "unpriced",
            "estimated",
            "paid",
            "paid_movable",
            "low",
            "expected",
            "high",
            "stays",
        ):
            assert sum(getattr(part, name) for part in parts) == getattr(total, name), name
    verdicts = [judged(one, tariff) for one in many]
    assert total.paid == sum(one.paid or 0 for one in verdicts)
    for name, part in (("low", "least"), ("expected", "saving"), ("high", "most")):
        assert getattr(total, name) == sum(getattr(one, part) for one in verdicts)
    assert 0 <= total.low <= total.expected <= total.high <= total.paid_movable <= total.paid
    assert summary.unpriced_models.total() == total.unpriced

    document = json.loads(render(summary, Facts("file"), tariff, "json", "words"))
    whole = document["total"]
    for name in ("paid_usd", "would_cost_usd", "saving_usd", "saving_low_usd", "saving_high_usd"):
        for parts in (document["intents"], document["tiers"]):
            assert sum(nano_from_usd(item[name] or 0) for item in parts) == nano_from_usd(whole[name] or 0)
            assert all((item[name] is None) == (item["unpriced"] == item["calls"]) for item in parts)
    rows = list(csv.DictReader(io.StringIO(render(summary, Facts("file"), tariff, "csv", "words"))))
    assert sum(int(row["calls"]) for row in rows) == total.calls
    assert sum(nano_from_usd(row["saving_usd"] or 0) for row in rows) == total.expected
    assert render(summary, Facts("file"), tariff, "table", "words").startswith("Of your last ")


def test_the_first_line_answers_and_the_rest_says_what_is_not_known():
    many = (
        [past("prove it", name="hard")] * 23
        + [past("compare them")] * 40
        + [past("list it")] * 27
        + [past("list it perhaps", name="doubtful")] * 10
        + [
            past("list it", model="small-ish"),
            past(None),
            past("compare", model="small"),
            past("list", cut=True),
        ]
    )
    facts = Facts("file", left_out={"bad lines": 3, "cached": 2})
    first, second, *rest = render(summed(many), facts, TARIFF, "table", "words").splitlines()
    saved = 40 * 11_800_000 + 27 * 13_000_000 + 11 * 6_500_000
    paid = 78 * 13_000_000
    assert first == (
        "Of your last 104 calls, 103 can be assessed: 23 needed the strong model. 78 would have been "
        "answered by a cheaper tier: you paid $1.0140, they would have cost "
        f"${Decimal(paid - saved).scaleb(-9):.4f}, saving $0.8945 ($0.8230 … $0.9660)."
    )
    assert "11 of the 78 are unsure" in second
    assert "1 already cost no more" in second
    assert "15 to 31 % needs the strong model (95 % confidence)" in second
    text = " ".join("\n".join(rest).split())
    assert "It would not move 34 calls" in text
    assert text.count("needs the strong model") == DEAREST
    assert "Graded by words." in text
    assert "1 call(s) have no price (small-ish)" in text
    assert "1 call(s) kept no prompt" in text
    assert "store_prompts_in_spend_logs: true" in text
    assert "3 bad line(s) were skipped." in text
    assert "2 call(s) answered by LiteLLM's own cache" in text
    assert "1 stored prompt(s) were shortened" in text
    assert "your own hardware, is in no amount" in text
    assert "counted with each call's own odds" in text


@given(calls)
def test_on_the_page_too_what_was_paid_less_the_saving_is_what_it_would_have_cost(many):
    lines = render(summed(many), Facts("file"), TARIFF, "table", "words").splitlines()
    shown = re.search(r"paid \$([\d,.]+), they would have cost \$([\d,.]+), saving \$([\d,.]+) ", lines[0])
    rows = [line.split()[-6:] for line in lines[4 : lines.index("", 4)]]
    rows = [row for row in rows if "unpriced" not in row]
    for paid, cost, saving, *_ in ([shown.groups()] if shown else []) + rows:
        one, other, third = (Decimal(text.replace(",", "")) for text in (paid, cost, saving))
        assert one - third == other


def test_what_has_no_price_is_never_shown_as_free():
    summary = summed([past("list it", model="unheard-of")] * 3)
    first, _, _, _, local, *_ = render(summary, Facts("file"), TARIFF, "table", "words").splitlines()
    assert first.endswith("0 needed the strong model. 3 cannot be compared: they have no price.")
    assert local.split() == ["local", "3", "unpriced", *"----", "0"]
    (row,) = csv.DictReader(io.StringIO(render(summary, Facts("file"), TARIFF, "csv", "words")))
    assert (row["paid_usd"], row["saving_usd"], row["unpriced"]) == ("", "", "3")


def test_measured_climbs_are_named_and_counted():
    climbing = replace(TARIFF, climbs={"LOW": Fraction(1, 8)})
    text = render(summed([past()], climbing), Facts("ledger", other_nano=5_000), climbing, "table", "words")
    assert "the share measured in the ledger, 12.5% of local" in " ".join(text.split())
    assert "saving $0.0114" in text, "0.013 less an eighth of it"
    assert "gradings, summaries and failed attempts cost $0.000005" in text


def test_many_intents_stay_readable_and_are_all_in_csv_and_json():
    asks = [f"list {'very ' * number}old ferries" for number in range(60)]
    summary = summed([past(ask) for ask in asks])
    assert len(summary.intents) == 60
    table = render(summary, Facts("file"), TARIFF, "table", "words")
    assert table.count("list very") == TOP_INTENTS - ("list old" in table)
    assert "40 others" in table
    document = json.loads(render(summary, Facts("file"), TARIFF, "json", "words"))
    assert len(document["intents"]) == 60
    assert len(render(summary, Facts("file"), TARIFF, "csv", "words").splitlines()) == 61


def test_prompts_are_shown_shortly_safely_or_not_at_all():
    summary = summed([past("=HYPERLINK(1) \x1b[31m" + "secret " * 50)])
    for form in ("table", "csv", "json"):
        shown = render(summary, Facts("file"), TARIFF, form, "words")
        assert "\x1b" not in shown
        assert shown.count("secret") <= 9
        assert "HYPERLINK" not in render(summary, Facts("file"), TARIFF, form, "words", excerpts=False)
    rows = list(csv.DictReader(io.StringIO(render(summary, Facts("file"), TARIFF, "csv", "words"))))
    assert rows[0]["first_ask"].startswith("'=HYPERLINK"), "a spreadsheet would run it"


def test_the_calls_that_stay_are_named_by_intent():
    summary = summed([past("prove it", name=f"c-{n}") for n in range(150)] + [past("list it")])
    document = json.loads(render(summary, Facts("file"), TARIFF, "json", "words"))
    stay = {item["stay"]: item["stays"] for item in document["intents"]}
    assert stay[150][0] == {"call": "c-0", "why": "strong"}
    assert len(stay[150]) == 100
    assert stay[0] == []


def test_wilson_interval_holds_its_known_values():
    # Agresti and Coull 1998: 0 of 10 gives (0, 0.278).
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert wilson(23, 100) == pytest.approx((0.1584, 0.3215), abs=1e-4)
    assert wilson(0, 0) == (0, 1)


class Scores:
    """A learned grader whose score is written in the ask."""

    version = "1-abc"

    def cuts(self, quality):
        return Cuts(0.2, 0.6) if quality >= 0.9 else Cuts(0.5, 0.8)

    def assess(self, task, cuts):
        return Assessment(float(task.ask), False, "", None)


@pytest.mark.parametrize(
    ("score", "grade", "perhaps"),
    [
        ("0.125", "LOW", "LOW"), ("0.1875", "LOW", "MEDIUM"), ("0.203125", "MEDIUM", "MEDIUM"),
        ("0.375", "MEDIUM", "MEDIUM"), ("0.5625", "MEDIUM", "HIGH"), ("0.625", "HIGH", "HIGH"),
    ],
)  # fmt: skip
def test_the_learned_grader_brings_its_doubts_and_its_odds(score, grade, perhaps):
    found = LearnedAssessor(Scores(), 0.95).judge(task_from({"prompt": score}))
    assert found == Judged(grade, perhaps, Fraction(score))
    assert LearnedAssessor(Scores(), 0.7).judge(task_from({"prompt": "0.375"})).grade == "LOW"


def test_recorded_grades_stand_unless_a_dial_is_given():
    def seen(source, score, **options):
        record = Recorded("MEDIUM", score, source, "", climbed=False)
        return LearnedAssessor(Scores(), 0.7, **options).recorded(record, "MEDIUM")

    assert seen("learned", 0.25) == Judged("MEDIUM", "MEDIUM", Fraction(1, 4))
    assert seen("learned", 0.25, regrade=True) == Judged("LOW", "LOW", Fraction(1, 4))
    assert seen("judge", 0.25, regrade=True).grade == "MEDIUM", "a judge's word is not the score's"
    assert (seen("learned", 0.78125).perhaps, seen("judge", 0.78125).perhaps) == ("HIGH", "MEDIUM")
    assert seen("learned", 0.48).perhaps == "MEDIUM", "a doubt never lowers a grade"
    assert seen("rule", 0.01) == Judged("MEDIUM", "HIGH"), "another grader's score says nothing"


def test_a_grader_that_is_not_installed_whole_is_an_error_and_not_a_guess(monkeypatch):
    def broken(*, quality):
        raise ArtifactError("the grader's artifact is missing: …")

    monkeypatch.setattr("farthing.audit.grading.LearnedGrader.load", broken)
    with pytest.raises(AuditError, match="artifact is missing"):
        assessor(0.99)


# -- from file to report -------------------------------------------------------------------------------


@pytest.fixture
def words(monkeypatch):
    monkeypatch.setattr("farthing.audit.run.assessor", lambda quality, **options: WordGrader())


def options(file, **changes):
    return AuditOptions(file=str(file), **{"fast": "small", "form": "json", **changes})


def write(path, records):
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def request(prompt, days_ago=None, **more):
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    when = (
        {} if days_ago is None else {"timestamp": (datetime.now(UTC) - timedelta(days=days_ago)).isoformat()}
    )
    return {"prompt": prompt, "model": "big", "usage": usage, **when, **more}


@pytest.mark.usefixtures("words")
def test_last_takes_the_newest_by_time_wherever_they_stand(tmp_path):
    asks = ["list b", "prove d", "list a", "prove c"]
    file = write(tmp_path / "x", [request(ask, days_ago=9 - index % 2) for index, ask in enumerate(asks)])
    settings = Settings(cost=COST)
    newest = json.loads(audit(options(file, last=2), settings))
    assert (newest["calls"], newest["needed_strong"]) == (2, 2)
    undated = write(tmp_path / "y", [request(ask) for ask in ("list a", "prove b", "list c")])
    assert json.loads(audit(options(undated, last=1), settings))["needed_strong"] == 0


@pytest.mark.usefixtures("words")
def test_days_keeps_what_began_since_and_counts_what_has_no_time(tmp_path):
    file = write(tmp_path / "x", [request("list", 0.5), request("list", 3), request("list")])
    document = json.loads(audit(options(file, days=2), Settings(cost=COST)))
    assert (document["calls"], document["left_out"]) == (1, {"undated": 1})


@pytest.mark.usefixtures("words")
def test_the_tiers_prices_come_from_options_or_settings(tmp_path):
    file = write(tmp_path / "x", [request("list"), request("compare"), request("list", model=None)])
    own = COST.model_copy(update={"prices": {**COST.prices, "own": price("0.5", "0.5", "local")}})

    def saved(cost, **changes):
        return nano_from_usd(
            json.loads(audit(options(file, **changes), Settings(cost=cost)))["total"]["saving_usd"]
        )

    assert saved(COST) == 2 * 13_000_000 + 11_800_000
    assert saved(own) == 2 * (13_000_000 - 550_000) + 11_800_000
    assert saved(COST, local_cost=Decimal("0.20")) == 2 * (13_000_000 - 220_000) + 11_800_000
    assert saved(COST, fast="big") == 2 * 13_000_000
    assert saved(COST, baseline="small") == 13_000_000 + 11_800_000 + 1_200_000
    for changes in ({"fast": "unheard-of"}, {"baseline": "unheard-of"}):
        with pytest.raises(AuditError, match="unheard-of: has no price"):
            audit(options(file, **changes), Settings(cost=COST))


@pytest.mark.usefixtures("words")
def test_a_file_without_one_call_to_audit_says_what_it_held(tmp_path, capsys):
    bad = tmp_path / "x"
    bad.write_text("\n".join(["nonsense"] * 30))
    with pytest.raises(AuditError, match=r"holds no call to audit \(left out: 30 bad lines\)"):
        audit(options(bad), Settings(cost=COST))
    told = capsys.readouterr().err
    assert "x, line 20: not JSON" in told
    assert "line 21" not in told
    assert "further bad lines are counted" in told


@pytest.mark.usefixtures("words")
def test_no_prompts_at_all_is_an_answer_not_a_guess(tmp_path):
    rows = [
        {"request_id": f"r{n}", "call_type": "acompletion", "model": "big", "spend": 0.5, "messages": {}}
        for n in range(3)
    ]
    text = audit(options(write(tmp_path / "x", rows), form="table"), Settings(cost=COST))
    assert text.startswith("Of your last 3 calls, none can be assessed: all kept no prompt")
    assert "1.500000" in text


def run(*arguments, stdin="", cwd):
    return subprocess.run(
        [Path(sys.executable).parent / "farthing", "audit", *arguments],
        input=stdin, capture_output=True, text=True, cwd=cwd,
    )  # fmt: skip


def test_the_command_reads_standard_input_and_needs_no_settings(tmp_path):
    asked = json.dumps({"prompt": "What is the capital of Portugal?", "model": "gpt-5"}) + "\nbad\n"
    done = run("-", stdin=asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Of your last 1 call, 0 needed the strong model. 1 would have been")
    assert "gpt-5-mini, $0.25 in, $2 out" in done.stdout
    assert done.stderr.startswith("farthing: standard input, line 2: not JSON"), "and no bar off a terminal"
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (["none.jsonl"], 2, "none.jsonl: cannot be read: No such file"),
        (["-"], 2, "-: is empty"),
        (["-", "--fast", "unheard-of"], 2, "--fast unheard-of: has no price"),
        (["-", "--last", "0"], 2, "not a whole number above 0"),
        (["-", "--quality", "2"], 2, "is not a quality"),
        (["-", "--local-cost", "-1"], 2, "is not an amount"),
        ([], 2, "farthing.yaml: no such file"),
    ],
)
def test_what_is_wrong_is_said_with_a_status(tmp_path, monkeypatch, capsys, arguments, status, why):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FARTHING_CONFIG", raising=False)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    try:
        found = cli.main(["audit", *arguments])
    except SystemExit as stopped:
        found = stopped.code
    assert found == status
    assert why in capsys.readouterr().err


def test_help_teaches_by_examples(capsys):
    with pytest.raises(SystemExit):
        cli.main(["audit", "--help"])
    shown = capsys.readouterr().out
    assert "examples:\n  farthing audit spend.jsonl --last 100" in shown
    assert "LiteLLM_SpendLogs" in shown
