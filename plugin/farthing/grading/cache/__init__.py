"""The intent cache: a repeat of an intent is not graded again."""

from farthing.grading.cache.memory import NEAR_THRESHOLD, MemoryCache
from farthing.grading.cache.values import CacheStats, Hit, IntentCache, Remembered

__all__ = ["NEAR_THRESHOLD", "CacheStats", "Hit", "IntentCache", "MemoryCache", "Remembered", "open_cache"]


def open_cache(
    size: int,
    ttl_s: float,
    near: bool | float = True,
    redis_url: str | None = None,
    redis_timeout_s: float = 0.02,
    share_vectors: bool = True,
) -> IntentCache:
    """Return an intent cache of at most ``size`` entries, each remembered for ``ttl_s`` seconds.

    ``near`` is the lowest cosine of a near hit: True for the measured default, False for no near layer.
    With ``redis_url`` the gateway's processes share their entries; a request waits for Redis at most
    ``redis_timeout_s`` seconds, and a Redis that is away is no error. ``share_vectors`` False keeps the
    embeddings of asks, which tell their gist, out of Redis. Raises ValueError for a size, time, cosine
    or URL that cannot be, RuntimeError if the Redis client is not installed.
    """
    threshold = (NEAR_THRESHOLD if near else None) if isinstance(near, bool) else near
    memory = MemoryCache(size, ttl_s, threshold)
    if redis_url is None:
        return memory
    try:
        from farthing.grading.cache.shared import SharedCache
    except ImportError as error:
        raise RuntimeError(
            "a shared intent cache needs the Redis client: pip install 'farthing[redis]'"
        ) from error
    return SharedCache(memory, redis_url, ttl_s, redis_timeout_s, share_vectors)
