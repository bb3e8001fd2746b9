import asyncio
import json
from contextlib import aclosing

import anyio
import pytest

from farthing.credits import StoreError
from farthing.proxy.pages import feed
from farthing.proxy.pages.feed import Feeds


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(feed, "POLL_S", 0.01)


class Source:
    """Something to look at: what it shows, and how often it was looked at."""

    def __init__(self):
        self.shown, self.looks, self.at = 0, 0, 0
        self.error = None

    async def read(self):
        self.looks += 1
        self.at += 1
        if self.error:
            raise self.error
        return {"shown": self.shown, "at": self.at}


def follow(feeds, read, stop=None):
    return feeds.follow("ada", "balance", read, stop or anyio.Event())


async def next_of(events):
    event = await asyncio.wait_for(anext(events), 5)
    return event.event, json.loads(event.data)


async def quiet(events, seconds=0.1):
    """Whether nothing comes for a while."""
    following = asyncio.ensure_future(anext(events))
    done, _ = await asyncio.wait({following}, timeout=seconds)
    following.cancel()
    await asyncio.wait({following})
    return not done


async def test_a_picture_comes_at_once_and_when_it_has_changed_and_not_for_the_time_alone():
    source, feeds = Source(), Feeds()
    async with aclosing(follow(feeds, source.read)) as events:
        name, picture = await next_of(events)
        assert (name, picture["shown"]) == ("balance", 0)
        source.shown = 1
        assert (await next_of(events))[1]["shown"] == 1
        looks = source.looks
        assert await quiet(events)
        assert source.looks > looks


async def test_many_viewers_share_one_reading_and_the_last_to_leave_ends_it():
    source, feeds = Source(), Feeds()
    viewers = [follow(feeds, source.read) for _ in range(20)]
    for viewer in viewers:
        await next_of(viewer)
    begun = source.looks
    await asyncio.sleep(0.2)
    assert source.looks - begun <= 25
    for viewer in viewers[1:]:
        await viewer.aclose()
    source.shown = 7
    assert (await next_of(viewers[0]))[1]["shown"] == 7
    await viewers[0].aclose()
    await asyncio.sleep(0.02)
    ended = source.looks
    await asyncio.sleep(0.1)
    assert source.looks == ended
    assert not feeds._feeds


async def test_who_comes_later_gets_the_picture_as_it_is():
    source, feeds = Source(), Feeds()
    async with aclosing(follow(feeds, source.read)) as first:
        await next_of(first)
        async with aclosing(follow(feeds, source.read)) as second:
            assert (await next_of(second))[1]["shown"] == 0


async def test_who_is_slow_gets_the_newest_only():
    source, feeds = Source(), Feeds()
    async with aclosing(follow(feeds, source.read)) as events:
        await next_of(events)
        for shown in range(1, 6):
            source.shown = shown
            await asyncio.sleep(0.05)
        assert (await next_of(events))[1]["shown"] == 5
        assert await quiet(events)


@pytest.mark.parametrize("error", [StoreError("disk full"), RuntimeError("a mistake")])
async def test_trouble_is_told_once_and_it_goes_on(error):
    source, feeds = Source(), Feeds()
    async with aclosing(follow(feeds, source.read)) as events:
        await next_of(events)
        source.error = error
        name, told = await next_of(events)
        assert name == "trouble"
        assert str(error) not in told["message"]
        source.error = None
        assert (await next_of(events))[0] == "balance"


async def test_a_feed_ends_after_a_while_so_that_the_key_is_checked_anew(monkeypatch):
    monkeypatch.setattr(feed, "LASTS_S", 0.1)
    source, feeds = Source(), Feeds()
    seen = [event async for event in follow(feeds, source.read)]
    assert len(seen) == 1
    assert not feeds._feeds


async def test_a_feed_ends_by_itself_when_the_server_stops():
    source, feeds, stop = Source(), Feeds(), anyio.Event()
    events = follow(feeds, source.read, stop)
    await next_of(events)
    stop.set()
    with pytest.raises(StopAsyncIteration):
        await next_of(events)
    assert not feeds._feeds


async def test_a_reading_that_takes_long_is_repeated_less_often():
    source, feeds = Source(), Feeds()

    async def slow():
        await asyncio.sleep(0.05)
        return await source.read()

    async with aclosing(follow(feeds, slow)) as events:
        await next_of(events)
        await asyncio.sleep(0.4)
    assert source.looks <= 2
