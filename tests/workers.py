"""Processes for tests that race and crash. They start in some milliseconds, from a clean process that has
already imported what they need."""

import multiprocessing

workers = multiprocessing.get_context("forkserver")
workers.set_forkserver_preload(
    ["farthing.credits.sqlite", "farthing.credits.redis", "tests.crash_worker", "tests.unit.credit_backends"]
)
