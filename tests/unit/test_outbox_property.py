"""Whatever happens on the way, in whatever order: each charge is billed exactly once, to the nano-dollar."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.money import nano_from_usd
from farthing.telemetry import Cost
from farthing.telemetry.delivery import Delivery
from farthing.telemetry.outbox import Outbox
from farthing.telemetry.spans import ChargeSpans
from tests.unit.otlp_stand_in import Answer, Collector, attributes_of, partial_success
from tests.unit.test_spans_charge import CHARGE

SPANS = ChargeSpans("gateway", "i")
HTML = {"content-type": "text/html"}
ANSWERS = {
    "unavailable": lambda: Answer(503, headers={"retry-after": "0"}),
    "throttled": lambda: Answer(429),
    "broken": lambda: Answer(500),
    "bad gateway": lambda: Answer(502, b"<html>", HTML),
    "too large": lambda: Answer(413),
    "bad request": lambda: Answer(400),
    "forbidden": lambda: Answer(403),
    "moved": lambda: Answer(307, headers={"location": "http://127.0.0.1:9/v1/traces"}),
    "login page": lambda: Answer(200, b"<html>log in</html>", HTML),
    "slow": lambda: Answer(200, delay_s=0.4),
}
FATES = [*ANSWERS, "accept", "accept, warn", "reject some", "hang up", "accept, then hang up"]


class Receiver(Collector):
    """Meets each request with the next fate; when there are none left it accepts."""

    def __init__(self):
        super().__init__()
        self.fates = []
        self.rule = self.meet
        self._server.handle_error = lambda *_: None
        self.got = Counter()
        self.billed = {}

    def bill(self, spans):
        for span in spans:
            facts = attributes_of(span)
            self.got[facts["farthing.charge.id"]] += 1
            self.billed[facts["farthing.charge.id"]] = nano_from_usd(facts["farthing.cost.total"])

    def meet(self, spans):
        fate = self.fates.pop(0) if self.fates else "accept"
        if fate in ANSWERS:
            raise ANSWERS[fate]()
        if fate == "hang up":
            raise ConnectionResetError
        if fate == "reject some":
            kept = spans[1:]
            self.bill(kept)
            return kept
        self.bill(spans)
        if fate == "accept, then hang up":
            raise ConnectionResetError
        if fate == "accept, warn":
            raise Answer(200, partial_success(0, "soon to be deprecated"))
        return spans


class Gateway:
    def __init__(self, path, endpoint):
        self.outbox = Outbox(path, fsync="interval")
        self.delivery = Delivery(
            self.outbox, endpoint, linger_s=0, poll_s=0.02, timeout_s=0.2, lease_s=0.3, longest_wait_s=0.01
        )
        self.delivery.start()

    async def append(self, number):
        cost = Cost(number * 1_000_003 + 1, 7, 0, number)
        made = replace(CHARGE, id=f"c{number}", cost=cost, settled=cost.total)
        payload = SPANS.finish(made).payload
        await self.outbox.append(made.id, cost.total, payload, sequence=self.outbox.next_sequence())
        return cost.total

    async def stop(self):
        await self.delivery.close()
        await self.outbox.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 6)),
        st.tuples(st.just("again"), st.integers(0, 30)),
        st.tuples(st.just("fates"), st.lists(st.sampled_from(FATES), min_size=1, max_size=4)),
        st.tuples(st.just("crash"), st.none()),
        st.tuples(st.just("wait"), st.just(0.03)),
    ),
    min_size=3,
    max_size=14,
)


async def live(path, receiver, steps):
    gateway, crashed, spent = Gateway(path, receiver.endpoint), [], {}
    for step, value in steps:
        if step == "append":
            for _ in range(value):
                number = len(spent)
                spent[f"c{number}"] = await gateway.append(number)
        elif step == "again" and value < len(spent):
            await gateway.append(value)  # a success that was reported twice
        elif step == "fates":
            receiver.fates += value
        elif step == "wait":
            await asyncio.sleep(value)
        elif step == "crash":
            # No farewell: its claims stay, and what it was sending may have arrived.
            gateway.delivery._task.cancel()
            gateway.delivery._closed = True
            crashed.append(gateway)
            gateway = Gateway(path, receiver.endpoint)
    receiver.fates.clear()
    await gateway.stop()
    gateway = Gateway(path, receiver.endpoint)  # what was refused is tried again at a start
    async with asyncio.timeout(20):
        while (counts := await gateway.outbox.counts()).delivered < len(spent):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await gateway.stop()
    for dead in crashed:
        await dead.outbox.close()
    return spent, counts


@settings(max_examples=20)
@given(STEPS)
def test_each_charge_is_billed_exactly_once(steps):
    receiver = Receiver()
    with TemporaryDirectory() as folder:
        spent, counts = asyncio.run(live(Path(folder) / "outbox.db", receiver, steps))
    receiver.stop()
    assert set(receiver.got) == set(spent), "at least once"
    assert receiver.billed == spent, "each at its own amount"
    assert sum(receiver.billed.values()) == counts.cost_nano == sum(spent.values())
    assert (counts.pending, counts.rejected) == (0, 0)


def test_every_fate_in_turn_loses_nothing_and_is_never_given_up():
    """Each kind of answer, several times over, before the first that is good."""
    receiver = Receiver()
    receiver.fates = [fate for fate in FATES if fate not in ("accept", "accept, warn", "reject some")] * 3

    async def work(path):
        gateway = Gateway(path, receiver.endpoint)
        spent = {f"c{number}": await gateway.append(number) for number in range(5)}
        assert await gateway.delivery.flush(25)
        counts = await gateway.outbox.counts()
        await gateway.stop()
        return spent, counts

    with TemporaryDirectory() as folder:
        spent, counts = asyncio.run(work(Path(folder) / "outbox.db"))
    receiver.stop()
    assert receiver.billed == spent
    assert max(receiver.got.values()) > 1, "an answer that was lost is asked for again"
    assert counts.delivered == 5
