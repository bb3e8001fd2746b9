"""The gate of a stream: what the client sees when its beginning is good, bad or slow."""

import asyncio
from types import SimpleNamespace

import pytest

from farthing.grading.check import Verdict
from farthing.proxy.calls import Call
from farthing.proxy.gates import guarded
from farthing.settings import Grading, Settings
from farthing.telemetry import Account
from tests.unit.test_proxy_streams import RecordingMeter, call_of, chunk, stream_of

BAD = Verdict(False, "refusal", "reads like a refusal")
LONG = "The capital of the country you ask about is a city with a long history. "


class Meter(RecordingMeter):
    """Also ends calls that nobody reads any more."""

    async def abandon(self, call, error=""):
        await self.settle(call, call.attempt, None, "cancelled")


class Climber:
    """Stands for the climber: climbs to scripted streams, one a tier, if it has any."""

    def __init__(self, *better, bad_whole=None):
        self.better, self.bad_whole = [stream for stream in better if stream is not None], bad_whole
        self.climbs = 0

    def may_climb(self, call):
        return call.attempt.deployment.tier != "strong"

    def checked(self, call, check, part="whole"):
        return check()

    def note(self, call, verdict):
        return verdict

    def check_streamed(self, call, answer):
        return BAD if self.bad_whole and self.bad_whole in answer.text else Verdict(True)

    async def climb(self, call, data, above=""):
        self.climbs += 1
        if not self.better:
            return None
        child = call_of("chat")
        child.attempt.deployment = SimpleNamespace(tier="strong", label="gpt-5")
        child.parent, call.climbed_to = call, child
        return child, stream_of(self.better.pop(0))


def fresh_call() -> Call:
    call = call_of("chat")
    call.payload = {"messages": [{"role": "user", "content": "Which city is the capital?"}]}
    call.account = Account("k", "ada", "research", "")
    return call


def settings(chars=40, seconds=3.0):
    return Settings(grading=Grading(check={"stream_prefix_chars": chars, "stream_prefix_s": seconds}))


async def run(climber, items, call=None, **more):
    meter = Meter()
    call = call or fresh_call()
    out = [item async for item in guarded(climber, meter, call, stream_of(items), {}, settings(**more))]
    return out, meter, call


async def test_a_good_stream_passes_whole_and_in_order():
    items = [chunk(word) for word in LONG.split(" ")] + [chunk(finish="stop")]
    out, meter, _ = await run(Climber(), items)
    assert out == items
    assert [outcome for outcome, *_ in meter.ended] == ["ok"]


async def test_a_refusal_at_the_beginning_is_never_seen():
    refusal = [
        chunk("I'm sorry, "),
        chunk("but I cannot help "),
        chunk("with that request."),
        chunk("more" * 20),
    ]
    better = [chunk("Paris."), chunk(finish="stop")]
    climber = Climber(better)
    out, meter, call = await run(climber, [*refusal, chunk(finish="stop")])
    assert out == better
    assert [outcome for outcome, *_ in meter.ended] == ["failed", "ok"]
    assert call.answering is not call


async def test_a_short_stream_is_checked_whole_and_paid_for_as_failed():
    items = [chunk("wrong"), chunk(finish="stop"), chunk(usage={"prompt_tokens": 9, "completion_tokens": 2})]
    better = [chunk("right"), chunk(finish="stop")]
    out, meter, _ = await run(Climber(better, bad_whole="wrong"), items)
    assert out == better
    (failed, usage, _), (ok, *_) = meter.ended
    assert (failed, ok) == ("failed", "ok")
    assert usage.output_tokens == 2  # its real usage, not an estimate


async def test_with_nothing_better_to_be_had_the_cheap_answer_goes_out():
    items = [chunk("wrong"), chunk(finish="stop")]
    climber = Climber(None, bad_whole="wrong")
    out, _, call = await run(climber, items)
    assert out == items
    assert climber.climbs == 1
    assert call.answering is call


async def test_what_is_found_after_the_gate_has_opened_takes_nothing_back():
    items = [chunk(LONG), chunk(LONG), chunk("wrong"), chunk(finish="stop")]
    climber = Climber([chunk("right")], bad_whole="wrong")
    out, meter, _ = await run(climber, items)
    assert out == items
    assert climber.climbs == 0
    assert meter.ended[0][0] == "ok"


async def test_a_slow_stream_is_not_held_back_for_long():
    async def slow():
        yield chunk("First ")
        await asyncio.sleep(0.4)
        yield chunk("second.")
        yield chunk(finish="stop")

    meter, call = Meter(), fresh_call()
    stream = guarded(Climber(), meter, call, slow(), {}, settings(chars=10_000, seconds=0.05))
    first = await asyncio.wait_for(anext(stream), 0.3)
    assert first.choices[0].delta.content == "First "
    rest = [item async for item in stream]
    assert [item.choices[0].delta.content for item in rest] == ["second.", None]
    assert meter.ended[0][0] == "ok"


async def test_a_client_that_hangs_up_behind_the_gate_pays_for_what_was_streamed():
    waiting = asyncio.Event()

    async def endless():
        yield chunk("First ")
        await waiting.wait()

    meter, call = Meter(), fresh_call()

    async def read():
        async for _ in guarded(Climber(), meter, call, endless(), {}, settings(chars=10_000)):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert meter.ended == [("cancelled", None, "First ")]


async def test_a_client_that_hangs_up_during_the_climb_pays_for_the_better_answer_too():
    waiting = asyncio.Event()

    async def begun():
        yield chunk("Better ")
        await waiting.wait()

    class Settling(Meter):
        async def settle(self, call, attempt, usage, outcome="ok"):
            await super().settle(call, attempt, usage, outcome)
            if outcome == "failed" and self.blocks:
                await waiting.wait()

    refusal = [chunk("I'm sorry, but I cannot help with that request."), chunk("more"), chunk(finish="stop")]
    for blocks in (False, True):
        climber = Climber([])
        meter, call, children = Settling(), fresh_call(), []
        meter.blocks = blocks

        async def climb(call, data, above="", climber=climber, children=children):
            child, _ = await Climber.climb(climber, call, data)
            children.append(child)
            return child, begun()

        climber.climb = climb
        stream = guarded(climber, meter, call, stream_of(refusal), {}, settings())
        if blocks:  # while the failed attempt is settled
            task = asyncio.create_task(anext(stream))
            await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:  # with the better answer half read
            await anext(stream)
            await stream.aclose()
        assert [outcome for outcome, *_ in meter.ended] == ["failed", "cancelled"]
        assert children[0].attempt.ended


async def test_a_failed_beginning_is_never_paid_for_as_an_answer_even_if_the_rest_comes_while_it_climbs():
    async def stalling():
        yield chunk("I'm sorry, but I cannot help with that request.")
        await asyncio.sleep(0.08)
        yield chunk(finish="stop")

    class Slow(Climber):
        async def climb(self, call, data, above=""):
            await asyncio.sleep(0.12)
            return await super().climb(call, data)

    for better, seen in (([chunk("Paris."), chunk(finish="stop")], ["failed", "ok"]), (None, ["failed"])):
        meter, call = Meter(), fresh_call()
        stream = guarded(Slow(better), meter, call, stalling(), {}, settings(chars=10_000, seconds=0.05))
        assert [item async for item in stream]
        assert [outcome for outcome, *_ in meter.ended] == seen


async def test_a_model_whose_answer_failed_does_not_go_on_writing():
    closed = []

    async def cheap():
        try:
            for _ in range(100):
                yield chunk("I'm sorry, but I cannot help with that request.")
        finally:
            closed.append("cheap")

    meter, call, stream = Meter(), fresh_call(), cheap()
    climber = Climber([chunk("Paris."), chunk(finish="stop")])
    async for _ in guarded(climber, meter, call, stream, {}, settings()):
        assert closed == ["cheap"]
    assert closed == ["cheap"]


@pytest.mark.parametrize("broken", [[RuntimeError("overloaded")], []])
async def test_a_better_stream_that_breaks_before_it_begins_is_tried_one_tier_up(broken):
    refusal = [chunk("I'm sorry, but I cannot help with that request."), chunk(finish="stop")]
    better = [chunk("Paris."), chunk(finish="stop")]
    out, meter, _ = await run(Climber(broken, better), refusal)
    assert out == better
    assert [outcome for outcome, *_ in meter.ended][-1] == "ok"
    out, meter, call = await run(Climber(broken), refusal)
    assert out == refusal, "and if there is no such tier, the cheap answer goes out"
    assert call.answering is call


async def test_checking_off_streams_through():
    for chars, streams in ((0, True), (40, False)):
        call = fresh_call()
        call.policy = call.policy.__class__(check_streams=streams)
        climber = Climber([chunk("right")], bad_whole="wrong")
        out, _, _ = await run(climber, [chunk("wrong"), chunk(finish="stop")], call, chars=chars)
        assert out[0].choices[0].delta.content == "wrong"
        assert climber.climbs == 0
