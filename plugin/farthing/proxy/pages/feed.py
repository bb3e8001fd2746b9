"""Live feeds: what is looked at is read again and again while somebody looks, and sent when it changed."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Any

import anyio
from sse_starlette import ServerSentEvent

from farthing.credits import StoreError

log = logging.getLogger("farthing")

POLL_S = 0.5
"""Seconds between two readings."""
LASTS_S = 900.0
"""Seconds after which a feed ends, so that the client comes again and its key is checked anew."""
_BUSY = 10
"""A reading that takes long is repeated only after so many times its own duration…"""
_LONGEST_S = 2.0
"""… but after so many seconds at most: it may have waited for an event loop that was busy just then."""

Read = Callable[[], Awaitable[dict[str, Any]]]


class Feeds:
    """The feeds of one process: those who look at the same share one reading."""

    def __init__(self) -> None:
        self._feeds: dict[Hashable, _Feed] = {}

    async def follow(
        self, key: Hashable, event: str, read: Read, stop: anyio.Event
    ) -> AsyncIterator[ServerSentEvent]:
        """Yield what ``read`` returns, now and whenever it has changed; who is slow gets the newest only.

        While it cannot be read, an event ``trouble`` says so. Ends with ``stop``, or after `LASTS_S`.
        """
        ends = time.monotonic() + LASTS_S
        feed = self._feeds.setdefault(key, _Feed(event, read))
        feed.open()
        seen = 0
        stopping = asyncio.ensure_future(stop.wait())
        newer = asyncio.ensure_future(feed.newer(seen))
        try:
            while True:
                left = max(0.0, ends - time.monotonic())
                await asyncio.wait({newer, stopping}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not newer.done():
                    return
                seen, latest = newer.result()
                yield latest
                newer = asyncio.ensure_future(feed.newer(seen))
        finally:
            stopping.cancel()
            newer.cancel()
            if feed.close() and self._feeds.get(key) is feed:
                del self._feeds[key]


class _Feed:
    """One picture, read while somebody looks at it."""

    def __init__(self, event: str, read: Read) -> None:
        self._event, self._read = event, read
        self._changed = asyncio.Condition()
        self._version, self._content = 0, ("", "")
        self._viewers = 0
        self._polling: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._viewers += 1
        self._polling = self._polling or asyncio.create_task(self._poll())

    def close(self) -> bool:
        """Return whether that was the last viewer."""
        self._viewers -= 1
        if self._viewers or self._polling is None:
            return False
        self._polling.cancel()
        return True

    async def newer(self, seen: int) -> tuple[int, ServerSentEvent]:
        """Wait for a version other than ``seen`` and return its number and event."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._version != seen)
            event, data = self._content
            return self._version, ServerSentEvent(data, event=event, sep="\n")

    async def _poll(self) -> None:
        before: object = None
        while True:
            began = time.monotonic()
            event, picture = await self._look()
            now = (event, {name: value for name, value in picture.items() if name != "at"})
            if now != before:
                before = now
                async with self._changed:
                    self._version += 1
                    self._content = (event, json.dumps(picture, separators=(",", ":")))
                    self._changed.notify_all()
            took_s = time.monotonic() - began
            await asyncio.sleep(max(POLL_S, min(_BUSY * took_s, _LONGEST_S)))

    async def _look(self) -> tuple[str, dict[str, Any]]:
        try:
            return self._event, await self._read()
        except StoreError as error:
            log.warning("farthing: the balance page cannot read the credit store: %s", error)
        except Exception:
            log.exception("farthing: the balance page cannot be shown")
        return "trouble", {"message": "The balances cannot be read just now. Trying again."}
