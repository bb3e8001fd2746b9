"""Compressed blocks as Go clients read them: they verify the checksum, so it must be ClickHouse's own."""

import pytest

from farthing.ledger.blocks import city_hash_128, pack_blocks
from farthing.ledger.encoding import unpack_blocks


def data(size):
    return bytes((i * i * 7 + i * 31 + size) % 251 for i in range(size))


# By go-faster/city, which the Go client of ClickHouse uses.
@pytest.mark.parametrize(
    ("size", "low", "high"),
    [
        (0, 4463240938071824939, 4374473821787594281),
        (3, 10185193285271474681, 1011627313716107577),
        (7, 2283178562168365940, 7739616680225006266),
        (12, 4438928342410360463, 17866164757473805980),
        (16, 16048976036897610250, 3183581455136815566),
        (40, 12692935299396253314, 16491900241615180075),
        (140, 10780900054500635103, 6922065613484214733),
        (300, 8233936569937488720, 4083678791628627571),
        (699, 12730238086768561612, 3801288855580390320),
    ],
)
def test_the_checksum_is_the_one_that_clients_compute(size, low, high):
    assert city_hash_128(data(size)) == (low, high)


@pytest.mark.parametrize("size", [0, 1, 300, 1024 * 1024, 2 * 1024 * 1024 + 7])
def test_blocks_read_back_as_what_was_packed(size):
    body = data(251) * (size // 251 + 1)
    packed = list(pack_blocks(body[:size]))
    assert unpack_blocks(b"".join(packed)) == body[:size]
    assert len(packed) == -(-size // 1024**2)
    for block in packed:
        low, high = city_hash_128(block[16:])
        assert block[:16] == low.to_bytes(8, "little") + high.to_bytes(8, "little")
