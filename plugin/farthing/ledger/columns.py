"""Spans as columns of otel_traces, in ClickHouse's Native format, with the collector exporter's wording.

Columns rather than rows: the engine then copies a span's attributes instead of reading them one by one.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from farthing.ledger.pairs import PairsByBytes, length, text
from farthing.ledger.rows import as_map

_KINDS = tuple(map(text, ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")))
_STATUSES = tuple(map(text, ("Unset", "Ok", "Error")))
_NONE = b"\x00"
_LATEST = 2**63 - 1
_RESOURCES_KEPT = 1024
# LowCardinality in Native: one dictionary for each block (version 1; its own keys, which come first).
_DICTIONARY_VERSION, _OWN_KEYS = 1, 0x600

_PLAIN = (
    ("Timestamp", "DateTime64(9)"), ("TraceId", "String"), ("SpanId", "String"), ("ParentSpanId", "String"),
    ("TraceState", "String"), ("SpanName", "String"), ("SpanKind", "String"), ("ServiceName", "String"),
    ("ScopeName", "String"), ("ScopeVersion", "String"), ("Duration", "UInt64"), ("StatusCode", "String"),
    ("StatusMessage", "String"),
)  # fmt: skip
_NESTED = (
    ("Events.Timestamp", "Array(DateTime64(9))"), ("Events.Name", "Array(String)"),
    ("Events.Attributes", "Array(Map(String, String))"), ("Links.TraceId", "Array(String)"),
    ("Links.SpanId", "Array(String)"), ("Links.TraceState", "Array(String)"),
    ("Links.Attributes", "Array(Map(String, String))"),
)  # fmt: skip
_MAPS = ("ResourceAttributes", "SpanAttributes")
_MAP = "Map(LowCardinality(String), String)"
_NAMES = (*(name for name, _ in _PLAIN), *_MAPS, *(name for name, _ in _NESTED))

INSERT = f"INSERT INTO otel_traces ({', '.join(f'`{name}`' for name in _NAMES)})"
FORMAT = "Native"
# The filters over traces and attributes cost as much as all else; merging parts makes them, soon after.
SETTINGS = {"materialize_skip_indexes_on_insert": "0"}


@dataclass(frozen=True, slots=True)
class Block:
    """Spans ready for `INSERT`. ``rejected`` others are not in ``data``; ``reason`` is the first's."""

    data: bytes
    spans: int
    rejected: int
    reason: str


class SpanColumns:
    """Turns requests into blocks; it remembers attributes from one to the next. One thread at a time."""

    def __init__(self) -> None:
        self._pairs = PairsByBytes()
        self._resources: dict[bytes, tuple[bytes, dict[bytes, bytes]]] = {}
        self._scopes: dict[bytes, tuple[bytes, bytes]] = {}

    def encode(self, request: Any) -> Block:
        """Return the spans of a `wire.WireRequest`. A span that cannot be stored costs no other its place."""
        rows, pairs = _Rows(), self._pairs
        rejected, reason = 0, ""
        for resource in request.resource_spans:
            raw = resource.resource
            for scope in resource.scope_spans:
                raw_scope = scope.scope
                for span in scope.spans:
                    try:
                        rows.add(
                            span,
                            self._resources.get(raw) or self._keep(self._resources, _resource, raw),
                            self._scopes.get(raw_scope) or self._keep(self._scopes, _scope, raw_scope),
                            pairs,
                        )
                    except ValueError as error:
                        rejected += 1
                        reason = reason or str(error)
        return Block(rows.native(), rows.count, rejected, reason)

    @staticmethod
    def _keep(known: dict[bytes, Any], read: Callable[[bytes], Any], raw: bytes) -> Any:
        if len(known) >= _RESOURCES_KEPT:
            known.clear()
        known[raw] = found = read(raw)
        return found


def _resource(raw: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    try:
        attributes = as_map(Resource.FromString(raw).attributes)
    except DecodeError as error:
        raise ValueError(f"a resource cannot be read: {error}") from None
    return text(attributes.get("service.name", "")), {
        text(name): text(value) for name, value in attributes.items()
    }


def _scope(raw: bytes) -> tuple[bytes, bytes]:
    try:
        scope = InstrumentationScope.FromString(raw)
    except DecodeError as error:
        raise ValueError(f"a scope cannot be read: {error}") from None
    return text(scope.name), text(scope.version)


class _Rows:
    """The columns of one block while they grow."""

    def __init__(self) -> None:
        self._plain: list[tuple[Any, ...]] = []
        self._resources, self._attributes = _Maps(), _Maps()
        self._events, self._links = _Nested(2), _Nested(3)

    @property
    def count(self) -> int:
        return len(self._plain)

    def add(
        self,
        span: Any,
        resource: tuple[bytes, dict[bytes, bytes]],
        scope: tuple[bytes, bytes],
        pairs: PairsByBytes,
    ) -> None:
        """Append a span, or raise ValueError and append nothing."""
        start, end = span.start_time_unix_nano, span.end_time_unix_nano
        if start > _LATEST or end > _LATEST:
            raise ValueError("a span's time lies beyond the year 2262")
        parent = span.parent_span_id
        if len(parent) not in (0, 8):
            raise ValueError(f"a parent span id has {len(parent)} bytes instead of 8")
        trace_id, span_id = _ids(span)
        # Of a name that comes twice, the last.
        attributes = dict(map(pairs.__getitem__, span.attributes))
        events = [_event(event, pairs) for event in span.events]
        links = [
            (*_ids(link), text(link.trace_state), dict(map(pairs.__getitem__, link.attributes)))
            for link in span.links
        ]
        kind, status = span.kind, span.status
        row = (
            start,
            trace_id,
            span_id,
            _hex(parent),
            text(span.trace_state),
            text(span.name),
            _KINDS[kind] if 0 <= kind < len(_KINDS) else _NONE,
            resource[0],
            *scope,
            # A clock set back between start and end must not become a duration of centuries.
            max(0, end - start),
            _STATUSES[status.code] if 0 <= status.code < len(_STATUSES) else _NONE,
            text(status.message),
        )
        self._plain.append(row)
        self._resources.add(resource[1])
        self._attributes.add(attributes)
        self._events.add(events)
        self._links.add(links)

    def native(self) -> bytes:
        if not self.count:
            return b""
        parts = [length(len(_NAMES)), length(self.count)]
        for (name, kind), values in zip(_PLAIN, zip(*self._plain, strict=True), strict=True):
            data = b"".join(values) if kind == "String" else array("q", values).tobytes()
            parts += (text(name), text(kind), data)
        for name, maps in zip(_MAPS, (self._resources, self._attributes), strict=True):
            parts += (text(name), text(_MAP), maps.native())
        (times, *event_texts), link_texts = self._events.columns, self._links.columns
        nested = [
            array("q", times).tobytes(), *map(b"".join, event_texts), self._events.maps(),
            *map(b"".join, link_texts), self._links.maps(),
        ]  # fmt: skip
        for (name, kind), data in zip(_NESTED, nested, strict=True):
            ends = self._events.ends if name.startswith("Events") else self._links.ends
            parts += (text(name), text(kind), ends.tobytes(), data)
        return b"".join(parts)


class _Maps:
    """A column of maps whose names repeat, mostly all of them together."""

    def __init__(self) -> None:
        self._ends = array("Q")
        self._names: list[tuple[bytes, ...]] = []
        self._values: list[bytes] = []

    def add(self, pairs: dict[bytes, bytes]) -> None:
        self._names.append(tuple(pairs))
        self._values.extend(pairs.values())
        self._ends.append(len(self._values))

    def native(self) -> bytes:
        version, ends = array("Q", [_DICTIONARY_VERSION]).tobytes(), self._ends.tobytes()
        if not self._values:
            return version + ends
        kinds = dict.fromkeys(self._names)
        # A dictionary's first entry is always the empty text.
        names = dict.fromkeys((_NONE, *chain.from_iterable(kinds)))
        place = {name: number for number, name in enumerate(names)}
        width, code = (0, "B") if len(names) <= 2**8 else (1, "H") if len(names) <= 2**16 else (2, "I")
        places = {kind: array(code, map(place.__getitem__, kind)).tobytes() for kind in kinds}
        return b"".join(
            (
                version,
                ends,
                array("Q", [_OWN_KEYS | width, len(names)]).tobytes(),
                *names,
                array("Q", [len(self._values)]).tobytes(),
                *map(places.__getitem__, self._names),
                *self._values,
            )
        )


class _Nested:
    """Columns of lists that are as long as each other, and a list of maps beside them."""

    def __init__(self, columns: int) -> None:
        self.ends = array("Q")
        self.columns: list[list[Any]] = [[] for _ in range(columns)]
        self._maps: list[dict[bytes, bytes]] = []

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for *values, pairs in rows:
            for column, value in zip(self.columns, values, strict=True):
                column.append(value)
            self._maps.append(pairs)
        self.ends.append(len(self._maps))

    def maps(self) -> bytes:
        ends, total = array("Q"), 0
        for pairs in self._maps:
            total += len(pairs)
            ends.append(total)
        names: Iterable[bytes] = (name for pairs in self._maps for name in pairs)
        values: Iterable[bytes] = (value for pairs in self._maps for value in pairs.values())
        return b"".join((ends.tobytes(), *names, *values))


def _event(event: Any, pairs: PairsByBytes) -> tuple[int, bytes, dict[bytes, bytes]]:
    if event.time_unix_nano > _LATEST:
        raise ValueError("an event's time lies beyond the year 2262")
    return event.time_unix_nano, text(event.name), dict(map(pairs.__getitem__, event.attributes))


def _ids(item: Any) -> tuple[bytes, bytes]:
    trace_id, span_id = item.trace_id, item.span_id
    if len(trace_id) not in (0, 16):
        raise ValueError(f"a trace id has {len(trace_id)} bytes instead of 16")
    if len(span_id) not in (0, 8):
        raise ValueError(f"a span id has {len(span_id)} bytes instead of 8")
    return _hex(trace_id), _hex(span_id)


def _hex(identifier: bytes) -> bytes:
    return text(identifier.hex()) if identifier.strip(b"\0") else _NONE
