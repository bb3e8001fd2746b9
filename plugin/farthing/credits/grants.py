"""What farthing.yaml gives to whom, brought into the store when the proxy starts."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from farthing.credits.account import ORGANISATION, account_id
from farthing.credits.calendar import Calendar
from farthing.credits.store import CreditStore
from farthing.settings import Credits, RollOver, Settings
from farthing.telemetry import GATEWAY

_PREFIX = "key:"


@dataclass(slots=True)
class _Allowance:
    """A monthly allowance in nano-dollars; what rolls over is all of it where ``roll_over`` is None."""

    monthly: int | None = None
    roll_over: int | None = 0
    department: str = ""
    user: str = ""

    def add(self, monthly: Decimal | None, roll_over: RollOver, credits: Credits) -> None:
        if monthly is None:
            return
        self.monthly = (self.monthly or 0) + credits.nano(monthly)
        if roll_over == "all" or self.roll_over is None:
            self.roll_over = None
        else:
            self.roll_over += credits.nano(roll_over)


async def give_what_is_configured(store: CreditStore, settings: Settings, calendar: Calendar) -> None:
    """Make the store's grants and allowances those of farthing.yaml: new ones set, vanished ones taken back.

    A grant is what was ever given, not what is left: starting again does not fill a balance up. Grants that
    an admin made stay, but for those of an account whose budget is taken away. Raises StoreError, and
    ValueError for an amount that no store can hold.
    """
    credits = settings.credits
    keep: set[str] = set()
    for key in settings.keys:
        grant_id = f"{_PREFIX}{key.sha256}"
        until = calendar.ends_ms(key.credits_until) if key.credits_until else None
        await store.grant(
            grant_id,
            account_id("user", key.user),
            credits.nano(key.credits),
            department=key.department,
            expires_ms=until,
        )
        keep.add(grant_id)
    gateway = account_id("user", GATEWAY.user)
    await store.grant("gateway", gateway, credits.nano(credits.gateway), department=GATEWAY.department)
    await store.revoke_grants(_PREFIX, keep)
    allowances = _allowances(settings)
    for account, allowance in allowances.items():
        await store.plan(
            account,
            allowance.monthly,
            allowance.roll_over,
            department=allowance.department,
            user=allowance.user,
        )
    for balance in await store.balances():
        if balance.account in allowances:
            continue
        if balance.kind == "user":
            if balance.monthly is not None:
                await store.plan(balance.account, None, department=balance.department)
        elif balance.limited:
            await store.unlimit(balance.account)


def _allowances(settings: Settings) -> dict[str, _Allowance]:
    """Return the allowances by account: of users the sum over their keys, of keys their caps."""
    credits = settings.credits
    found: defaultdict[str, _Allowance] = defaultdict(_Allowance)
    for key in settings.keys:
        allowance = _Allowance(department=key.department)
        if key.monthly is not None:
            allowance = found.setdefault(account_id("user", key.user), allowance)
            allowance.add(key.monthly, key.roll_over, credits)
        department = credits.departments.get(key.department)
        cap = department.key_cap if key.cap is None and department else key.cap
        if cap is not None:
            capped = _Allowance(department=key.department, user=key.user)
            capped.add(cap, Decimal(0), credits)
            found[account_id("key", key.sha256)] = capped
    budgets = {account_id("department", name): budget for name, budget in credits.departments.items()}
    for account, budget in {ORGANISATION: credits.organisation, **budgets}.items():
        if budget.monthly is not None:
            found[account].add(budget.monthly, budget.roll_over, credits)
    return dict(found)
