"""What the credit tests share: each runs on every backend."""

import pytest

from farthing.credits import open_store
from tests.unit.credit_backends import BACKENDS, Clock


@pytest.fixture(params=sorted(BACKENDS))
def url(request, tmp_path):
    """A store that is new and empty."""
    return BACKENDS[request.param](tmp_path)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(url, clock):
    """An open store, which must add up when the test is over."""
    opened = open_store(url, clock=clock)
    yield opened
    assert await opened.verify() == []
    await opened.close()
