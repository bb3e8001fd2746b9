"""What every store refuses before it does anything: amounts, ids and leases that make no sense."""

from farthing.credits.store import KINDS, MAX_AMOUNT


def check_amount(amount: int) -> None:
    """Raise ValueError unless ``amount`` is an int from 0 to `MAX_AMOUNT`."""
    # bool is an int to Python, never to an accountant.
    if not isinstance(amount, int) or isinstance(amount, bool) or not 0 <= amount <= MAX_AMOUNT:
        raise ValueError(f"amount {amount!r} must be whole nano-dollars from 0 to {MAX_AMOUNT}")


def check_id(event_id: str) -> None:
    """Raise ValueError if a grant or hold id is empty or no text."""
    if not isinstance(event_id, str) or not event_id:
        raise ValueError(f"id {event_id!r} must be text that is not empty")


def check_amounts(*amounts: int | None) -> None:
    """Raise ValueError unless each is an amount, or None."""
    for amount in amounts:
        if amount is not None:
            check_amount(amount)


def check_account(account: str) -> None:
    """Raise ValueError unless ``account`` is an account's id, such as ``user:ada``."""
    check_id(account)
    kind, _, name = account.partition(":")
    if kind not in KINDS or (kind in ("user", "key") and not name) or (kind == "organisation" and name):
        raise ValueError(f"{account!r} is not an account's id, such as user:ada")


def lease_ms(ttl_s: float) -> int:
    """Return a lease in milliseconds. Raises ValueError unless it is a positive number of seconds."""
    if not 0 < ttl_s < 10**9:
        raise ValueError(f"ttl_s {ttl_s!r} must be a positive number of seconds")
    return max(1, int(ttl_s * 1000))
