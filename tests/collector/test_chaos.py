"""A short run of bench.chaos: the whole way from a client to the ledger, with kill -9s on it."""

from bench.chaos.run import run, table


def test_kills_at_random_instants_lose_and_double_nothing(collector_binary, tmp_path):
    result = run(tmp_path, collector_binary, kills=6, seed=2, clients=4)
    books = result.books
    assert books.told >= 4, table(result)
    assert books.recorded >= books.told
    assert books.hold, table(result)
