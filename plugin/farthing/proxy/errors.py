"""The errors a client of the proxy can meet because of Farthing, as LiteLLM turns them into OpenAI errors."""


class RefusedCallError(Exception):
    """A call that Farthing did not let through.

    LiteLLM reads ``status_code``, ``message``, ``type``, ``param`` and ``headers`` to build the
    OpenAI-style error. The status must not be 404, 408, 429 or 5xx: LiteLLM would retry the call or
    cool the deployment down for everybody.
    """

    def __init__(
        self,
        status_code: int,
        kind: str,
        message: str,
        headers: dict[str, str] | None = None,
        *,
        client_status: int = 0,
        reason: str = "request",
    ) -> None:
        """``client_status``: what the client is to get instead, where LiteLLM must not see that status.

        ``reason`` is why, in the word that metrics and traces count by.
        """
        super().__init__(message)
        self.status_code = status_code
        self.client_status = client_status or status_code
        self.message = message
        self.type = kind
        self.param = None
        self.headers = headers or {}
        self.reason = reason


def credits_exhausted(message: str, headers: dict[str, str], *, reason: str = "credits") -> RefusedCallError:
    """Return the 402 for a balance that cannot pay for a call."""
    return RefusedCallError(402, "insufficient_quota", message, headers, reason=reason)


_SESSION_LIMIT = "session_limit_reached"
_NO_USE = {"x-should-retry": "false"}
"""Clients of OpenAI and Anthropic would try a 429 again by themselves, to no avail."""


def session_exhausted(message: str, headers: dict[str, str]) -> RefusedCallError:
    """Return the 402, to the client a 429, for a session whose cap cannot pay for a call."""
    return RefusedCallError(
        402, _SESSION_LIMIT, message, headers | _NO_USE, client_status=429, reason="session_credits"
    )


def loop_stopped(message: str, kind: str) -> RefusedCallError:
    """Return the 429 for a session that has reached a cap. Only for before a model is chosen: see above."""
    return RefusedCallError(429, _SESSION_LIMIT, message, dict(_NO_USE), reason=f"session_{kind}")


def cannot_record(message: str, headers: dict[str, str]) -> RefusedCallError:
    """Return the 402, to the client a 503, for a call whose charge could not be kept."""
    return RefusedCallError(
        402,
        "service_unavailable",
        message,
        headers | {"retry-after": "30"},
        client_status=503,
        reason="outbox",
    )


def cannot_meter(message: str) -> RefusedCallError:
    """Return the 403 for a call whose cost nobody could know."""
    return RefusedCallError(403, "permission_error", message, reason="unmeterable")


def above_ceiling(tier: str, ceiling: str) -> RefusedCallError:
    """Return the 403 for a fallback to a tier that the key's tasks may not reach."""
    return RefusedCallError(
        403,
        "permission_error",
        f"The cheaper tiers did not answer, and this key's tasks may not go to the {tier} tier "
        f"(ceiling {ceiling} in farthing.yaml). Try again later.",
        reason="ceiling",
    )
