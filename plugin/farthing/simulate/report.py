"""What a simulation and a what-if print: figures, and every assumption behind them."""

import json
from datetime import date
from decimal import Decimal
from fractions import Fraction

from farthing.money import usd_text
from farthing.simulate.mix import Mix
from farthing.simulate.month import Done
from farthing.simulate.plan import Rates, charges_per_request
from farthing.simulate.prompts import Prompts
from farthing.simulate.whatif import Month


def assumptions(mix: Mix, rates: Rates, prompts: Prompts | None) -> list[str]:
    """Return in sentences what a month of this mix takes for granted."""
    names = ("local", "fast", "strong", "baseline")
    prices = ", ".join(
        f"{name} {model} {_per_million(put)}/{_per_million(out)}/{_per_million(read)}"
        for name, model, put, out, read in zip(
            names, rates.models, rates.input, rates.output, rates.read, strict=True
        )
    )
    found = [
        f"{mix.agents} agents, {mix.agents_per_user} for each user, busier and less busy ones "
        f"(skew {mix.skew:g}); sessions of {', '.join(map(str, mix.sessions))} requests in turn, none across "
        "midnight UTC",
        f"USD per million tokens in/out/cached: {prices}",
        f"each request makes {charges_per_request(mix):.4f} charges on average: its answer, a grading "
        f"call in {mix.judged:.1%}, and an attempt that failed in {mix.failures.local:.1%} (local) and "
        f"{mix.failures.fast:.1%} (fast), after which the next tier answers",
        f"tokens spread log-normally (standard deviation {mix.spread:g} of the logarithm), inputs grow by "
        f"{mix.growth:.0%} a step, at most {mix.longest_input} tokens; cached input from step 2 on, "
        "cloud only",
        "not simulated: cache writes, reasoning tokens, summaries, shortened contexts, balances, spans; "
        "every call is a chat call",
        f"seed {mix.seed}, mix {mix.digest}: the same mix gives the same calls again",
    ]
    if prompts:
        shares = ", ".join(f"{grade} {count / prompts.count:.1%}" for grade, count in prompts.grades.items())
        found.insert(
            1,
            f"from {prompts.count} prompts of yours, graded by Farthing's grader: {shares}; median input "
            f"{prompts.median_tokens} tokens, for all kinds of work",
        )
    else:
        found.insert(
            1,
            "grades and tokens by kind of work as in the mix (--print-mix shows it); none was measured",
        )
    return found


def simulated(done: Done, month: date, database: str, told: list[str]) -> str:
    """Return what `farthing simulate` prints at the end."""
    speed = f", {done.written / done.seconds:,.0f} requests/s" if done.written and done.seconds else ""
    return "\n".join(
        [
            f"{month:%Y-%m} in database {database}: {done.charges:,} simulated charges of {done.agents:,} "
            f"agents, {done.cost_usd} USD",
            f"{done.written:,} requests written now in {done.seconds:.1f} s{speed}; days summed in "
            f"{done.rolling:.1f} s",
            "",
            "Assumed:",
            *(f"- {line}" for line in told),
        ]
    )


def compared(now: Month, then: Month, slots: int, told: list[str], as_json: bool) -> str:
    """Return a what-if: the month at the baseline, as it was, and as it would have been."""
    rows = [
        ("models", now.baseline, now.models, then.models),
        ("own hardware", None, now.hardware, then.hardware),
        ("total", now.baseline, now.total, then.total),
        ("saved against the baseline", None, now.baseline - now.total, then.baseline - then.total),
    ]
    unpriced = sum(line.unpriced for line in now.lines)
    told = [*told, *_always(now, unpriced)]
    shares = [
        ("calls on the local tier", now.local_calls / now.calls, then.local_calls / then.calls),
        (f"hardware in use, {slots} call(s) a node", now.busy(slots), then.busy(slots)),
    ]
    if as_json:
        return json.dumps(
            {
                "usd": {
                    name: {
                        "baseline": _usd(base), "now": _usd(was), "then": _usd(would),
                        "change": _usd(would - was),
                    }
                    for name, base, was, would in rows
                },
                "shares": {name: {"now": _share(was), "then": _share(would)} for name, was, would in shares},
                "assumptions": told,
            },
            indent=2,
        )  # fmt: skip
    head = f"{'USD':<32}{'baseline':>18}{'now':>18}{'then':>18}{'change':>18}"
    lines = [head, "-" * len(head)]
    for name, base, was, would in rows:
        cells = (
            "" if base is None else usd_text(base),
            usd_text(was),
            usd_text(would),
            usd_text(would - was),
        )
        lines.append(f"{name:<32}" + "".join(f"{cell:>18}" for cell in cells))
    lines.append("")
    for name, share, changed in shares:
        lines.append(f"{name:<50}{_percent(share):>18}{_percent(changed):>18}")
    return "\n".join([*lines, "", "Assumed:", *(f"- {line}" for line in told)])


def _always(now: Month, unpriced: int) -> list[str]:
    found = [
        "the same calls with the same tokens; nothing is said about how good another model's answers are",
        "own hardware costs its hourly rate for the whole month, used or idle; the baseline has none",
    ]
    if unpriced:
        found.append(f"{unpriced:,} unpriced charges are in no sum")
    if any(line.tier == "local" and line.cost for line in now.lines) and now.hardware:
        found.append(
            "local calls have a price per token and hardware has an hourly rate: both are in the total, "
            "which counts the hardware twice if the price per token stands for it"
        )
    return found


def _usd(nano: int | None) -> str | None:
    return None if nano is None else usd_text(nano)


def _share(share: Fraction | None) -> float | None:
    return None if share is None else round(float(share), 6)


def _percent(share: Fraction | None) -> str:
    return "-" if share is None else f"{float(share):.2%}"


def _per_million(femto: int) -> str:
    return f"{Decimal(femto).scaleb(-9).normalize():f}"
