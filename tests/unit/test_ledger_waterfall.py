"""A trace on paper: the tree's order, bars on one axis, and text that cannot break out of the page."""

import re

from farthing.ledger.trace import TraceEvent, TraceSpan, in_tree, render
from farthing.ledger.waterfall import page

MS = 10**6
NASTY = """<script>alert("x")</script>"""


def span(
    name, span_id, parent, start_ms, ms, *, status="Unset", kind="Internal", events=(), links=(), **facts
):
    attributes = {f"farthing.{key.replace('__', '.')}": value for key, value in facts.items()}
    return TraceSpan(
        start_ms * MS, ms * MS, span_id, parent, "farthing", name, kind, status, "", attributes, events, links
    )


TREE = [
    span("farthing chat", "r", "caller", 0, 100, account__user="ada", account__department=NASTY),
    span("farthing grade", "g", "r", 1, 4, grade="LOW"),
    span(
        "chat cheap", "c1", "r", 10, 30, kind="Client", status="Error", charge__id="1",
        cost__total="0.000120000",
    ),
    span("farthing check", "k", "r", 40, 1, status="Error", check__failure="refusal"),
    span(
        "chat best", "c2", "r", 45, 50, kind="Client", charge__id="2", cost__total="0.001200000",
        events=(TraceEvent(46 * MS, "farthing.climb", {"farthing.tier": "fast"}),), links=(("r", "serves"),),
    ),
    span("deeper", "d", "c2", 46, 2),
]  # fmt: skip


def test_the_tree_is_read_depth_first_from_spans_whose_parent_is_elsewhere():
    assert [(item.span_id, depth) for item, depth in in_tree(TREE)] == [
        ("r", 0), ("g", 1), ("c1", 1), ("k", 1), ("c2", 1), ("d", 2),
    ]  # fmt: skip
    loop = [span("a", "a", "a", 0, 1)]
    assert [depth for _, depth in in_tree(loop)] == [0], "a span that is its own parent ends nothing"


def test_text_names_failures_links_and_events():
    text = render(TREE)
    assert "farthing.check.failure=refusal" in text
    assert "serves span r" in text
    assert "event: farthing.climb farthing.tier=fast" in text


def test_every_span_is_a_bar_at_its_time_and_the_charges_are_added_up():
    html = page("ab" * 16, TREE)
    bars = re.findall(r'class="bar (\w*)" style="left:([\d.]+)%;width:([\d.]+)%"', html)
    assert [(kind, float(left), float(width)) for kind, left, width in bars] == [
        ("", 0, 100), ("grade", 1, 4), ("failed", 10, 30), ("failed", 40, 1), ("model", 45, 50), ("", 46, 2),
    ]  # fmt: skip
    assert "0.00132 USD" in html
    assert 'title="farthing.climb"' in html


def test_what_a_client_wrote_stays_text():
    html = page(NASTY, TREE)
    assert NASTY not in html
    assert "&lt;script&gt;" in html


def test_a_trace_of_nothing_or_of_no_time_is_a_page_all_the_same():
    assert "No span" in page("0", [])
    assert 'class="bar' in page("0", [span("a", "a", "", 0, 0)])
