"""A trace as one HTML page: who asked, what it cost, and every span as a bar on one time axis.

No script, no font, nothing from elsewhere: it can be mailed, printed, and opened years later.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from html import escape
from math import floor, log10

from farthing.ledger.trace import TraceSpan, in_tree
from farthing.telemetry import attributes as a

_CLASSES = {"grade": "grade", "context": "context", "summary": "context", "hold": "money", "settle": "money"}
_SAID = (
    a.GRADE, a.GRADE_SOURCE, a.TIER, a.CONTEXT_DECISION, a.CHECK_FAILURE, a.COST_TOTAL, a.CREDITS_HELD,
    a.CREDITS_SETTLED, a.INPUT_TOKENS, a.OUTPUT_TOKENS, a.CLIMBED_FROM, a.CHARGE_KIND, a.DENIAL_REASON,
    a.ERROR_TYPE,
)  # fmt: skip
_SHORT = {
    a.GRADE_SOURCE: "by", a.COST_TOTAL: "cost", a.INPUT_TOKENS: "in", a.OUTPUT_TOKENS: "out",
    a.CLIMBED_FROM: "climbed from", a.CHARGE_KIND: "charge", a.CREDITS_HELD: "held",
    a.CREDITS_SETTLED: "settled", a.CONTEXT_DECISION: "context", a.CHECK_FAILURE: "fails",
    a.DENIAL_REASON: "denied", a.ERROR_TYPE: "error",
}  # fmt: skip
_USD = {a.COST_TOTAL, a.CREDITS_HELD, a.CREDITS_SETTLED}

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; padding: 28px 32px; font: 14px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #1c2430;
  background: #fff; }
h1 { margin: 0 0 2px; font-size: 20px; } .id { color: #5d6878; font-family: "DejaVu Sans Mono", monospace;
  font-size: 12px; } dl { display: flex; flex-wrap: wrap; gap: 6px 34px; margin: 14px 0 18px; }
dt { color: #5d6878; font-size: 12px; } dd { margin: 0; font-weight: 600; }
.row, .axis { display: grid; grid-template-columns: 250px 1fr; border-top: 1px solid #e6e9ee; }
.axis { border: 0; color: #5d6878; font-size: 11px; height: 18px; }
.name { padding: 6px 8px 6px 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.name small { color: #5d6878; } .lane { position: relative; padding: 30px 0 7px; }
.lane::before { content: ""; position: absolute; inset: 0;
  background: repeating-linear-gradient(90deg, #e6e9ee 0 1px, transparent 1px var(--tick)); opacity: .7; }
.bar { position: absolute; top: 8px; height: 15px; min-width: 3px; border-radius: 3px; background: #8a97a8; }
.ms { position: absolute; top: 6px; font-size: 12px; color: #3a4555; white-space: nowrap; }
.ms.left { transform: translateX(-100%); } .ms.inside { color: #fff; top: 7px; font-size: 11px; }
.marks { position: relative; }
.tick { position: absolute; }
.event { position: absolute; top: 5px; width: 0; height: 21px; border-left: 2px dashed #9a5b00; }
.said { position: relative; font-size: 12px; color: #3a4555; display: flex; flex-wrap: wrap; gap: 1px 14px; }
.said b { font-weight: 400; color: #6a7585; } .note { color: #7c4a00; }
.grade { background: #7a5fc0; } .context { background: #3d8f80; } .money { background: #b98a1c; }
.model { background: #2f6db5; } .check { background: #4f8f3a; } .failed { background: #c23b32; }
.failure { color: #a9291f; font-weight: 600; }
footer { margin-top: 14px; font-size: 12px; color: #5d6878; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin: 0 4px 0 14px; }
"""


def page(trace_id: str, spans: Sequence[TraceSpan]) -> str:
    """Return the page of a trace; it says so if there is no span of it."""
    width = max((_end(span) for span in spans), default=0) or 1
    tick = _tick(width)
    rows = "".join(_row(span, depth, width) for span, depth in in_tree(spans))
    empty = "" if spans else "<p>No span of this trace has arrived yet.</p>"
    keys = "".join(
        f'<span class="key {kind}"></span>{text}'
        for kind, text in (
            ("grade", "grade"), ("context", "context"), ("money", "hold and settle"), ("model", "model"),
            ("check", "check"), ("failed", "failed"),
        )
    )  # fmt: skip
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Trace {escape(trace_id)}</title>'
        f"<style>{_STYLE}:root {{ --tick: {100 * tick / width:.4f}%; }}</style>"
        f'<h1>One request, one tree</h1><div class="id">trace {escape(trace_id)}</div>{_head(spans, width)}'
        f'{empty}<div class="axis"><span></span><div class="marks">{_axis(width, tick)}</div></div>'
        f"{rows}<footer>{keys}</footer></html>\n"
    )


def _head(spans: Sequence[TraceSpan], width: int) -> str:
    root = next((span for span in spans if a.ACCOUNT_USER in span.attributes), None)
    charges = [span for span in spans if a.CHARGE_ID in span.attributes]
    facts = [("took", _duration(width)), ("spans", str(len(spans))), ("charges", str(len(charges)))]
    if root:
        who = root.attributes
        facts[:0] = [("asked by", f"{who[a.ACCOUNT_USER]} ({who.get(a.ACCOUNT_DEPARTMENT, '')})")]
    amounts = [_amount(span.attributes.get(a.COST_TOTAL, "")) for span in charges]
    if charges:
        unpriced = amounts.count(None)
        total = sum((amount for amount in amounts if amount is not None), Decimal(0))
        facts.append(
            ("cost", f"{_plain(str(total))} USD" + (f" and {unpriced} unpriced" if unpriced else ""))
        )
    items = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f"<dl>{items}</dl>"


def _amount(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _row(span: TraceSpan, depth: int, width: int) -> str:
    failed = span.status == "Error"
    left = 100 * span.offset_ns / width
    size = 100 * span.duration_ns / width
    right = left + size
    if right <= 88:
        label = f'<span class="ms" style="left:calc({right:.3f}% + 6px)">'
    elif left > 12:
        label = f'<span class="ms left" style="left:calc({left:.3f}% - 6px)">'
    else:
        label = f'<span class="ms inside" style="left:calc({left:.3f}% + 6px)">'
    events = "".join(
        f'<i class="event" title="{escape(event.name)}" style="left:{at:.3f}%"></i>'
        for event in span.events
        if 0 <= (at := 100 * event.offset_ns / width) <= 100
    )
    return (
        f'<div class="row"><div class="name" style="padding-left:{16 * depth}px">{escape(span.name)}<br>'
        f"<small>{escape(span.service)}</small></div>"
        f'<div class="lane"><i class="bar {"failed" if failed else _class(span)}" '
        f'style="left:{left:.3f}%;width:{size:.3f}%"></i>{label}{_duration(span.duration_ns)}</span>{events}'
        f'<div class="said">{"".join(_said(span))}</div></div></div>'
    )


def _said(span: TraceSpan) -> Iterator[str]:
    for name in _SAID:
        value = span.attributes.get(name, "")
        if not value:
            continue
        label = _SHORT.get(name, name.rpartition(".")[2])
        shown = f"{_plain(value)} USD" if name in _USD else value
        failure = ' class="failure"' if name in (a.ERROR_TYPE, a.CHECK_FAILURE, a.DENIAL_REASON) else ""
        yield f"<span{failure}><b>{escape(label)}</b> {escape(shown)}</span>"
    for event in span.events:
        yield f'<span class="note">┆ {escape(event.name.removeprefix("farthing."))}</span>'
    for other, what in span.links:
        yield f"<span><b>{escape(what or 'links to')}</b> {escape(other)}</span>"


def _plain(amount: str) -> str:
    return amount.rstrip("0").rstrip(".") if "." in amount else amount


def _class(span: TraceSpan) -> str:
    if span.kind == "Client":
        return "model"
    what = span.name.removeprefix("farthing ")
    return "check" if what == "check" else _CLASSES.get(what, "")


def _end(span: TraceSpan) -> int:
    return span.offset_ns + span.duration_ns


def _duration(ns: int) -> str:
    if ns < 10**6:
        return f"{ns / 1e3:.0f} µs"
    return f"{ns / 1e6:.1f} ms" if ns < 10**9 else f"{ns / 1e9:.2f} s"


def _tick(width: int) -> float:
    """Return a round distance between marks of the axis, of which there are five to ten."""
    power = 10.0 ** floor(log10(width / 5))
    return max(step * power for step in (1, 2, 5) if step * power <= width / 5)


def _axis(width: int, tick: float) -> str:
    marks = [number * tick for number in range(int(width / tick) + 1)]
    return "".join(
        f'<span class="tick" style="left:{100 * at / width:.3f}%">{_duration(int(at)) if at else "0"}</span>'
        for at in marks
        if at < 0.97 * width
    )
