"""One request's trace as an indented tree for the terminal; Jaeger shows the same spans."""

from collections.abc import Sequence

from farthing.ledger import TraceSpan

_SHOWN = (
    "farthing.account.user",
    "farthing.grade",
    "farthing.grade.reason",
    "farthing.tier",
    "gen_ai.response.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "farthing.cost.total",
    "farthing.credits.held",
    "farthing.credits.balance",
)


def render(spans: Sequence[TraceSpan]) -> str:
    """Return the spans as a tree: when each began, how long it took (ms), and its telling attributes."""
    known = {span.span_id for span in spans}
    lines: list[str] = []

    def walk(parent: str | None, depth: int) -> None:
        for span in spans:
            above = span.parent_span_id if span.parent_span_id in known else None
            if above != parent:
                continue
            facts = "  ".join(
                f"{name.removeprefix('farthing.')}={span.attributes[name]}"
                for name in _SHOWN
                if name in span.attributes and not (depth and name == "farthing.account.user")
            )
            name = "  " * depth + span.name
            lines.append(
                f"  {span.offset_ns / 1e6:9.1f} ms  {span.duration_ns / 1e6:9.1f} ms  {name:<34} {facts}\n"
            )
            walk(span.span_id, depth + 1)

    walk(None, 0)
    return "".join(lines) or "  (its spans have not arrived yet)\n"
