"""What an admin may do on the page: grant credits, cap a session, stop it. Each act names its reason.

An act is refused as a whole, with the reason, or done as a whole. The store's journal keeps who did it.
"""

import json
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from farthing.credits import CreditStore
from farthing.credits.account import ORGANISATION
from farthing.credits.calendar import Calendar
from farthing.credits.store import MAX_AMOUNT, UNCAPPED
from farthing.proxy.pages.errors import PageError
from farthing.proxy.pages.figures import Figures
from farthing.settings import Settings

_PREFIX = "page:"
"""Of the ids of grants made here; farthing.yaml's have others and cannot be touched from the page."""
_LOOK_BACK = 1000
"""Journal entries that are searched for a repeated grant."""


def _account(value: str) -> str:
    kind, _, name = value.partition(":")
    if value in {"organisation", ORGANISATION}:
        return ORGANISATION
    if kind not in {"user", "department"} or not name or not value.isprintable():
        raise ValueError("name user:<name>, department:<name> or organisation")
    return value


def _amount(value: object) -> Decimal:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,9})?", value):
        raise ValueError('write an amount as decimal text, such as "12.5"')
    amount = Decimal(value)
    if not amount:
        raise ValueError("must be more than 0")
    return amount


def _day(value: object) -> date | None:
    if value is None:
        return None
    try:
        day = date.fromisoformat(str(value))
    except ValueError:
        raise ValueError("write a day as YYYY-MM-DD") from None
    if day.year >= 3000:
        raise ValueError("must be before the year 3000")
    return day


_Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
_Credits = Annotated[Decimal, BeforeValidator(_amount)]
_Steps = Annotated[int, Field(strict=True, ge=1, le=10**9)]


class _Act(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GrantRequest(_Act):
    """Give an account credits. ``id`` is the client's own: sent again, the same grant is made once."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
    account: Annotated[str, AfterValidator(_account)]
    credits: _Credits
    expires: Annotated[date | None, BeforeValidator(_day)] = None
    """The last day (of the organisation's time zone) on which they can be spent."""
    reason: _Reason


class StopRequest(_Act):
    """Refuse a session's calls until its caps are set anew or it was quiet."""

    stop: Literal[True]
    reason: _Reason


class CapRequest(_Act):
    """Set both caps of a session's run (null: no cap) and let it go on, if it was stopped."""

    steps: _Steps | None
    credits: _Credits | None
    reason: _Reason


class Acts:
    """Does what an admin asks. Every method raises PageError, with nothing changed, and StoreError."""

    def __init__(
        self,
        settings: Settings,
        store: CreditStore,
        calendar: Calendar,
        figures: Figures,
        clock: Callable[[], float],
    ) -> None:
        self._rate = settings.credits.nano_per_credit
        self._store, self._calendar, self._figures, self._clock = store, calendar, figures, clock

    async def grant(self, body: bytes, actor: str) -> dict[str, Any]:
        """Grant as ``body`` (JSON) says; return the account as it is then."""
        asked = _as(GrantRequest, _read(body))
        amount = self._nano(asked.credits)
        expires_ms = self._calendar.ends_ms(asked.expires) if asked.expires else None
        found = await self._store.balances([asked.account])
        if not found:
            raise PageError(404, f"There is no account {asked.account!r}.")
        (balance,) = found
        if not balance.limited:
            raise PageError(
                409,
                f"The {balance.kind} has no budget of its own, so there is nothing to add to: it may spend "
                "what its users have. Give it a monthly budget in farthing.yaml first.",
            )
        grant_id = _PREFIX + asked.id
        if not await self._made(grant_id, asked.account, amount):
            if expires_ms is not None and expires_ms <= self._clock() * 1000:
                raise PageError(400, f"expires: {asked.expires} is over.")
            balance = await self._store.grant(
                grant_id,
                asked.account,
                amount,
                department=balance.department,
                expires_ms=expires_ms,
                actor=actor,
                reason=asked.reason,
            )
        return {"account": self._figures.account(balance)}

    async def session(self, session_id: str, body: bytes, actor: str) -> dict[str, Any]:
        """Cap or stop a session as ``body`` (JSON) says; return it as it is then."""
        data = _read(body)
        if "stop" in data:
            stop = _as(StopRequest, data)
            run = await self._store.stop_run(session_id, actor=actor, reason=stop.reason)
        else:
            caps = _as(CapRequest, data)
            cost = None if caps.credits is None else self._nano(caps.credits)
            run = await self._store.cap_run(
                session_id, steps=caps.steps or UNCAPPED, cost=cost, actor=actor, reason=caps.reason
            )
        if run is None:
            raise PageError(404, "There is no such session, or it has been quiet for long.")
        return {"session": self._figures.run(run)}

    def _nano(self, credits: Decimal) -> int:
        nano = credits * self._rate
        if nano != int(nano) or nano > MAX_AMOUNT:
            raise PageError(
                400, f"credits: {credits} credits are no whole number of nano-dollars up to {MAX_AMOUNT}."
            )
        return int(nano)

    async def _made(self, grant_id: str, account: str, amount: int) -> bool:
        """Return whether the grant was made before. Raises PageError if it was another one."""
        of_account = await self._store.journal(account, limit=_LOOK_BACK)
        for act in [*of_account, *await self._store.journal(limit=_LOOK_BACK)]:
            if act.ref == grant_id and act.action == "grant":
                if (act.target, act.amount) != (account, amount):
                    raise PageError(409, "Another grant was made with this id. Nothing was granted now.")
                return True
        return False


def _read(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise PageError(400, "Send a JSON object.")
    return data


_Form = TypeVar("_Form", bound=_Act)


def _as(form: type[_Form], data: dict[str, Any]) -> _Form:
    try:
        return form.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PageError(400, f"{where}: {first['msg'].removeprefix('Value error, ')}.") from None
