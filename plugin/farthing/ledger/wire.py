"""OTLP's trace request with its attributes left as they came: bytes, read only when they are new.

The messages are OpenTelemetry's own, but for each attribute, resource and scope, which stay serialised
(a message and bytes look the same on the wire). Most attributes of a charge say what the charge before
said, so they are looked up by their bytes instead of being taken apart again.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import (  # type: ignore[import-untyped]
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import DESCRIPTOR as _TRACE

_KEPT_AS_BYTES = ("common.v1.KeyValue", "common.v1.InstrumentationScope", "resource.v1.Resource")


def _request() -> Any:
    file = FileDescriptorProto()
    _TRACE.CopyToProto(file)
    request = file.message_type.add()
    ExportTraceServiceRequest.DESCRIPTOR.CopyToProto(request)
    file.name, file.package = "farthing/ledger/wire.proto", "farthing.ledger.wire"
    del file.dependency[:]
    waiting = list(file.message_type)
    while waiting:
        message = waiting.pop()
        waiting += message.nested_type
        for field in message.field:
            if field.type_name.endswith(_KEPT_AS_BYTES):
                field.type = FieldDescriptorProto.TYPE_BYTES
                field.ClearField("type_name")
            elif field.type_name:
                field.type_name = field.type_name.replace(_TRACE.package, file.package)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{request.name}"))


WireRequest: Any = _request()
"""ExportTraceServiceRequest, whose attributes, resources and scopes are bytes."""
