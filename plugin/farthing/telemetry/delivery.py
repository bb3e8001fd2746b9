"""The background sender: takes charges from the outbox to the OTLP endpoint, for as long as it takes.

At least once: a charge is marked delivered after the endpoint said so, and a crash in between sends it
again. Every store downstream drops repeats by charge id.
"""

import asyncio
import contextlib
import contextvars
import functools
import gzip
import logging
import random
import time
from collections.abc import Callable, Sequence

import httpx
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from farthing.settings import Telemetry
from farthing.telemetry.otlp_reply import Reply, read_reply
from farthing.telemetry.outbox import Outbox, OutboxError
from farthing.telemetry.outbox_file import Pending
from farthing.telemetry.quiet import quiet
from farthing.telemetry.resource import basic_auth, traces_url

_log = logging.getLogger(__name__)

MOST_SPANS = 512
_FIRST_WAIT_S = 0.2
_PRUNE_EVERY_S = 600.0
_MOST_PRUNED = 2000


class Delivery:
    """Sends what the outbox holds to ``{endpoint}/v1/traces``.

    ``auth`` is a basic-auth user and password. ``linger_s`` is how long a new charge may wait for company
    before it is sent; ``poll_s`` how often to look for charges that other, dead workers left behind.
    ``keep_s`` is how long delivered charges stay on disk. ``timeout_s`` bounds one POST; ``lease_s``, how
    long a batch is ours alone, must be longer. ``longest_wait_s`` caps the exponential back-off.

    No failure to send ever raises: it is logged once when the endpoint goes down and once when it is back.
    """

    def __init__(
        self,
        outbox: Outbox,
        endpoint: str,
        auth: tuple[str, str] | None = None,
        *,
        linger_s: float = 1.0,
        poll_s: float = 2.0,
        keep_s: float = 7 * 86400,
        timeout_s: float = 10.0,
        lease_s: float = 20.0,
        longest_wait_s: float = 30.0,
    ) -> None:
        if lease_s <= timeout_s:
            raise ValueError(f"lease_s {lease_s} must be longer than timeout_s {timeout_s}")
        self._outbox = outbox
        self._url = traces_url(endpoint)
        self._headers = basic_auth(*auth) if auth else {}
        self._headers |= {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
        self._linger_s, self._poll_s, self._keep_s = linger_s, poll_s, keep_s
        self._timeout_s, self._lease_s, self._longest_wait_s = timeout_s, lease_s, longest_wait_s
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._appended = asyncio.Event()
        self._hurry = asyncio.Event()
        self._flushing = 0
        self._forget: Callable[[], None] | None = None
        self._failures = 0
        self._proven = False
        self._prune_at = 0.0
        self._closed = False

    @classmethod
    def from_settings(cls, outbox: Outbox, telemetry: Telemetry) -> "Delivery":
        """Return the sender that farthing.yaml asks for."""
        auth = (telemetry.otlp_user, telemetry.otlp_password) if telemetry.otlp_user else None
        return cls(
            outbox,
            telemetry.otlp_endpoint,
            auth,
            linger_s=telemetry.linger_s,
            keep_s=telemetry.outbox_keep_s,
        )

    def start(self) -> None:
        """Start sending on the running event loop. Cheap and harmless to repeat: call it per request."""
        loop = asyncio.get_running_loop()
        if self._closed or (self._task is not None and self._loop is loop and not self._task.done()):
            return
        if self._forget is not None:
            self._forget()
        self._loop = loop
        self._appended, self._hurry = asyncio.Event(), asyncio.Event()
        self._forget = self._outbox.on_append(self._wake)
        # An empty context: the sender outlives the request that happened to start it.
        self._task = loop.create_task(self._run(), name="farthing-delivery", context=contextvars.Context())

    async def flush(self, timeout_s: float) -> bool:
        """Send what is pending now; return whether nothing is pending after at most ``timeout_s`` seconds.

        Counts the charges of all workers on the file. Does not linger, and cuts a back-off short once, but
        never a wait the endpoint asked for.
        """
        self.start()
        deadline = time.monotonic() + timeout_s
        self._flushing += 1
        self._hurry.set()
        self._appended.set()
        try:
            while True:
                with contextlib.suppress(OutboxError):
                    if await self._outbox.waiting() == 0:
                        return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                await asyncio.sleep(min(0.02, left))
        finally:
            self._flushing -= 1

    async def close(self) -> None:
        """Stop sending. What is undelivered stays in the outbox for the next process.

        Close the outbox after this, not before.
        """
        self._closed = True
        if self._forget is not None:
            self._forget()
            self._forget = None
        task, self._task = self._task, None
        if task is not None and self._loop is asyncio.get_running_loop():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _wake(self) -> None:
        # Called from the outbox's thread.
        loop, appended = self._loop, self._appended
        if loop is not None and not appended.is_set():
            with contextlib.suppress(RuntimeError):  # that loop has closed
                loop.call_soon_threadsafe(appended.set)

    async def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # sending spans must not make spans
        # In a thread: reading the certificates takes tens of milliseconds. Redirects are not followed: a
        # login page is no collector, and the password stays here.
        new_client = functools.partial(httpx.AsyncClient, headers=self._headers, timeout=self._timeout_s)
        async with await asyncio.to_thread(new_client) as client:
            # A receiver that was at fault may have been mended since the last start.
            fresh = True
            while True:
                try:
                    if fresh:
                        await self._outbox.retry_rejected()
                        fresh = False
                    await self._round(client)
                except OutboxError as error:
                    await self._down(Reply("later", str(error)))
                except Exception as error:
                    _log.debug("delivery round failed", exc_info=True)
                    await self._down(Reply("later", f"{type(error).__name__}: {error}"))

    async def _round(self, client: httpx.AsyncClient) -> None:
        self._appended.clear()
        batch = await self._outbox.pending(MOST_SPANS, lease_s=self._lease_s)
        if not batch:
            await self._prune()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._appended.wait()
            await self._linger()
            return
        ids = [entry.charge_id for entry in batch]
        reply = None
        try:
            reply = await self._deliver(client, batch)
        finally:
            if reply is None or reply.verdict == "later":
                # Given back, also when cancelled: another worker may try at once.
                with contextlib.suppress(OutboxError):
                    await self._outbox.release(ids)
        if reply.verdict == "later":
            await self._down(reply)
        else:
            self._up()

    async def _deliver(self, client: httpx.AsyncClient, batch: Sequence[Pending]) -> Reply:
        reply = await self._post(client, batch)
        if reply.verdict == "accepted":
            await self._outbox.delivered([entry.charge_id for entry in batch])
            self._proven = True
        elif reply.verdict == "rejected" and len(batch) == 1:
            await self._quarantine(batch[0], reply)
        elif reply.verdict == "refused" and len(batch) == 1:
            return await self._convict([(batch[0], reply)], proven=self._proven)
        elif reply.verdict != "later":
            _log.warning("OTLP endpoint %s: %s; sending that batch one by one", self._url, reply.reason)
            return await self._one_by_one(client, batch)
        return reply

    async def _one_by_one(self, client: httpx.AsyncClient, batch: Sequence[Pending]) -> Reply:
        suspects: list[tuple[Pending, Reply]] = []
        proven = False
        for entry in batch:
            await self._outbox.renew([entry.charge_id], lease_s=self._lease_s)
            reply = await self._post(client, [entry])
            if reply.verdict == "later":
                return reply
            if reply.verdict == "accepted":
                await self._outbox.delivered([entry.charge_id])
                proven = True
            elif reply.verdict == "rejected":
                await self._quarantine(entry, reply)
            else:
                suspects.append((entry, reply))
        return await self._convict(suspects, proven=proven)

    async def _convict(self, suspects: Sequence[tuple[Pending, Reply]], *, proven: bool) -> Reply:
        # An endpoint that refuses everything is itself at fault (a wrong URL, a proxy in between): only
        # one that takes other charges may say that these are bad.
        self._proven = proven and not suspects
        if suspects and not proven:
            return Reply("later", suspects[0][1].reason)
        for entry, reply in suspects:
            await self._quarantine(entry, reply)
        return Reply("accepted")

    async def _quarantine(self, entry: Pending, reply: Reply) -> None:
        await self._outbox.rejected([entry.charge_id])
        _log.error(
            "charge %s was refused by %s (%s): kept in the outbox as rejected, tried again at the next start",
            entry.charge_id,
            self._url,
            reply.reason,
        )

    async def _post(self, client: httpx.AsyncClient, batch: Sequence[Pending]) -> Reply:
        # Serialised protobuf messages of one type merge by concatenation.
        content = b"".join(entry.payload for entry in batch)
        zipped = await asyncio.to_thread(gzip.compress, content, 1)
        try:
            with quiet():
                async with asyncio.timeout(self._timeout_s):
                    response = await client.post(self._url, content=zipped)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            return Reply("later", f"{type(error).__name__}: {error}".rstrip(": "))
        return read_reply(response.status_code, response.headers, response.content)

    async def _linger(self) -> None:
        if self._linger_s > 0 and not self._flushing:
            self._hurry.clear()
            await self._pause(self._linger_s)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _down(self, reply: Reply) -> None:
        self._failures += 1
        if self._failures == 1:
            _log.warning(
                "OTLP endpoint %s does not take charges (%s): they wait in the outbox",
                self._url,
                reply.reason,
            )
        longest = min(_FIRST_WAIT_S * 2 ** min(self._failures - 1, 20), self._longest_wait_s)
        # Jitter, so that workers do not come back in step.
        wait = random.uniform(longest / 2, longest)  # noqa: S311
        if reply.retry_after_s is not None and reply.retry_after_s >= wait:
            await asyncio.sleep(reply.retry_after_s)
        else:
            self._hurry.clear()
            await self._pause(wait)

    def _up(self) -> None:
        if self._failures:
            _log.info("OTLP endpoint %s takes charges again", self._url)
        self._failures = 0

    async def _prune(self) -> None:
        if time.monotonic() < self._prune_at:
            return
        if await self._outbox.prune(self._keep_s, most=_MOST_PRUNED) < _MOST_PRUNED:
            self._prune_at = time.monotonic() + _PRUNE_EVERY_S
