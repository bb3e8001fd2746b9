"""Attribute values as text, worded as the OpenTelemetry collector's ClickHouse exporter words them.

`true`, `1`, `0.25`, base64 for bytes, compact JSON with sorted keys for lists and maps.
"""

import base64
import json
import math
from collections.abc import Iterable
from decimal import Decimal

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

# What Go's JSON encoder escapes, so that its text may stand inside HTML.
_GO_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def as_map(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Return attributes as text by name; of a name that comes twice, the last."""
    return {item.key: as_text(item.value) for item in attributes}


def as_text(value: AnyValue) -> str:
    """Return an attribute's value as the collector's ClickHouse exporter writes it."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "int_value":
        return str(value.int_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "double_value":
        if not math.isfinite(value.double_value):
            return f"json: unsupported value: {_not_finite(value.double_value)}"
        return _number(value.double_value)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind in ("array_value", "kvlist_value"):
        try:
            return _json(value)
        except ValueError:
            return ""
    return ""


def _json(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return "[" + ",".join(_json(item) for item in value.array_value.values) + "]"
    if kind == "kvlist_value":
        items = {item.key: item.value for item in value.kvlist_value.values}
        return "{" + ",".join(f"{_json_text(key)}:{_json(items[key])}" for key in sorted(items)) + "}"
    if kind == "double_value":
        if not math.isfinite(value.double_value):
            raise ValueError("JSON has no such number")
        return _number(value.double_value)
    if kind in ("int_value", "bool_value"):
        return as_text(value)
    return "null" if kind is None else _json_text(as_text(value))


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_GO_ESCAPES)


def _number(value: float) -> str:
    """Return a float with the fewest digits that read back as it; plain from 1e-6 to 1e21, as JavaScript."""
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        mantissa, _, exponent = repr(value).partition("e")
        return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].lstrip('0')}"
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"
