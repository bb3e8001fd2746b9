"""The credits that farthing.yaml grants, brought into the store when the proxy starts."""

from farthing.credits.store import CreditStore
from farthing.money import nano_from_usd
from farthing.settings import Settings
from farthing.telemetry import GATEWAY, Account

_PREFIX = "key:"


async def grant_key_ring(store: CreditStore, settings: Settings) -> None:
    """Make the store's key grants those of the key ring: new and changed ones set, vanished ones revoked.

    A grant is what was ever given, not what is left: starting again does not fill a balance up.
    """
    keep: set[str] = set()
    for key in settings.keys:
        grant_id = f"{_PREFIX}{key.sha256}"
        account = Account(key.sha256, key.user, key.department, key.cost_centre)
        await store.grant(grant_id, account, nano_from_usd(key.credits * settings.credits.usd_per_credit))
        keep.add(grant_id)
    rate = settings.credits.usd_per_credit
    await store.grant("gateway", GATEWAY, nano_from_usd(settings.credits.gateway * rate))
    await store.revoke_grants(_PREFIX, keep)
