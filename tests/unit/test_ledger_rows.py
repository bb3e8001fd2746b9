"""Spans as rows: the collector exporter's wording of values, and inserts that are shared."""

import asyncio
import json
import struct

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from farthing.ledger.pairs import PairsByBytes, length
from farthing.ledger.rows import _number, as_map, as_text
from farthing.ledger.writer import SpanWriter


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (-2.5, "-2.5"), (0.1, "0.1"), (1e-6, "0.000001"),
        (1e-7, "1e-7"), (1.5e-10, "1.5e-10"), (1e16, "10000000000000000"),
        (123456789012345680000.0, "123456789012345680000"), (1e21, "1e+21"), (-1.25e30, "-1.25e+30"),
        (5e-324, "5e-324"), (0.00001, "0.00001"),
    ],
)  # fmt: skip
def test_floats_are_written_as_javascript_and_go_do(value: float, text: str) -> None:
    assert _number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_read_back_as_themselves(value: float) -> None:
    assert float(_number(value)) == value


def test_every_type_of_value_has_its_text() -> None:
    nested = KeyValueList(
        values=[
            KeyValue(key="z", value=AnyValue(double_value=2.0)),
            KeyValue(
                key="a", value=AnyValue(array_value=ArrayValue(values=[AnyValue(), AnyValue(int_value=1)]))
            ),
            KeyValue(key="b", value=AnyValue(bytes_value=b"\x00\xff")),
            KeyValue(key="é", value=AnyValue(string_value='<&> "\n\u2028')),
        ]
    )
    written = as_text(AnyValue(kvlist_value=nested))
    assert written == '{"a":[null,1],"b":"AP8=","z":2,"é":"\\u003c\\u0026\\u003e \\"\\n\\u2028"}'
    assert json.loads(written)["é"] == '<&> "\n\u2028'
    assert as_text(AnyValue(double_value=float("nan"))) == "json: unsupported value: NaN"
    assert as_text(AnyValue(double_value=float("-inf"))) == "json: unsupported value: -Inf"
    infinite = ArrayValue(values=[AnyValue(double_value=float("inf"))])
    assert as_text(AnyValue(array_value=infinite)) == ""
    assert as_text(AnyValue()) == as_text(AnyValue(string_value="")) == ""
    twice = [KeyValue(key="k", value=AnyValue(string_value=text)) for text in ("first", "last")]
    assert as_map(twice) == {"k": "last"}


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 16383, 16384, 2**31])
def test_lengths_are_leb128(number: int) -> None:
    value = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(length(number)))
    assert value == number


VALUES = st.recursive(
    st.one_of(
        st.text(max_size=150).map(lambda text: AnyValue(string_value=text)),
        st.integers(-(2**63), 2**63 - 1).map(lambda number: AnyValue(int_value=number)),
        st.integers(0, 2**35).map(lambda number: AnyValue(int_value=number)),
        st.booleans().map(lambda yes: AnyValue(bool_value=yes)),
        st.floats().map(lambda number: AnyValue(double_value=number)),
        st.binary(max_size=20).map(lambda data: AnyValue(bytes_value=data)),
        st.just(AnyValue()),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda v: AnyValue(array_value=ArrayValue(values=v))),
    max_leaves=4,
)


@given(st.text(max_size=150), VALUES)
def test_what_is_cut_out_of_the_bytes_is_what_they_mean(name: str, value: AnyValue) -> None:
    item = KeyValue(key=name, value=value)
    pairs = PairsByBytes()
    for raw in (item.SerializeToString(), item.SerializeToString()):
        assert pairs[raw] == tuple(
            length(len(part.encode())) + part.encode() for part in (item.key, as_text(item.value))
        )


@given(st.binary(max_size=40), st.integers(0, 3))
def test_bytes_that_are_no_attribute_are_refused_or_read_as_protobuf_does(noise: bytes, cut: int) -> None:
    whole = KeyValue(key="farthing.tier", value=AnyValue(string_value="local")).SerializeToString()
    for raw in (noise, whole[: len(whole) - cut] + noise, whole[:-5] + noise[:5], whole[:17] + noise):
        try:
            item = KeyValue.FromString(raw)
        except DecodeError:
            with pytest.raises(ValueError, match="cannot be read"):
                PairsByBytes()[raw]
        else:
            name, text = item.key.encode(), as_text(item.value).encode()
            assert PairsByBytes()[raw] == (length(len(name)) + name, length(len(text)) + text)


def test_attributes_that_never_come_again_are_not_kept() -> None:
    pairs = PairsByBytes()
    for number in range(20_000):
        item = KeyValue(key="id", value=AnyValue(string_value=f"charge-{number}"))
        assert pairs[item.SerializeToString()][1].endswith(f"charge-{number}".encode())
    for number in range(140_000):
        pairs[KeyValue(key=f"name-{number}", value=AnyValue(bool_value=True)).SerializeToString()]
    pairs[KeyValue(key="text", value=AnyValue(string_value="x" * 10**6)).SerializeToString()]
    assert len(pairs) <= 131_072
    assert sum(map(len, pairs)) < 4 * 10**6


class Store:
    """An insert that notes what came together and fails on rows that hold `bad`."""

    def __init__(self) -> None:
        self.inserts: list[bytes] = []
        self.stored = b""

    def __call__(self, rows: bytes) -> None:
        self.inserts.append(rows)
        if b"bad" in rows:
            raise RuntimeError("bad rows")
        self.stored += rows


async def test_requests_that_wait_share_the_next_insert() -> None:
    store = Store()
    writer = SpanWriter(store)
    rows = [struct.pack("<I", number) for number in range(50)]
    await asyncio.gather(*(writer.store(row) for row in rows))
    assert store.stored == b"".join(rows)
    assert len(store.inserts) < 10
    await writer.store(b"later")
    assert store.stored.endswith(b"later")


async def test_bad_rows_fail_their_own_request_alone() -> None:
    store = Store()
    writer = SpanWriter(store)
    results = await asyncio.gather(
        *(writer.store(row) for row in (b"one ", b"bad ", b"two ", b"three ")), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), RuntimeError, type(None), type(None)]
    assert store.stored == b"one two three "


async def test_a_sender_that_leaves_does_not_take_the_others_rows_along() -> None:
    store = Store()
    writer = SpanWriter(store)
    leaving = asyncio.create_task(writer.store(b"left "))
    staying = asyncio.create_task(writer.store(b"stayed "))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert b"stayed " in store.stored
