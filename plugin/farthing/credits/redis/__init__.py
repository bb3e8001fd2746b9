"""The credit store in a Redis (7 or newer, or Valkey), shared by proxies on several machines."""

from farthing.credits.redis.connection import initialise
from farthing.credits.redis.store import RedisCreditStore

__all__ = ["RedisCreditStore", "initialise"]
