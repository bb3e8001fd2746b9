"""ClickHouse's HTTP protocol: a request read into one call of the engine, its answer written back."""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP

from starlette.responses import Response, StreamingResponse

from farthing.ledger import blocks, encoding, sqltext
from farthing.ledger.engine import Answer, Engine
from farthing.ledger.errors import EngineError

# Parameters of the protocol, not settings of the engine. Sessions are accepted and not kept: each
# request stands alone, so SET and temporary tables do not outlive theirs.
_PROTOCOL = frozenset(
    {
        "query",
        "database",
        "default_format",
        "user",
        "password",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "quota_key",
        "compress",
        "decompress",
        "wait_end_of_query",
        "buffer_size",
        "client_protocol_version",
        "role",
        "enable_http_compression",
        "http_zlib_compression_level",
        "http_native_compression_disable_checksumming_on_decompress",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "add_http_cors_header",
        "close_session",
        "cancel_http_readonly_queries_on_client_close",
        "http_wait_end_of_query",
        "http_response_buffer_size",
        "readonly",
    }
)
_STATUS = {
    403: (164, 192, 193, 194, 195, 497, 516),
    404: (46, 47, 50, 60, 81, 115, 73),
    400: (6, 26, 27, 33, 36, 38, 41, 44, 53, 62, 70, 72, 117, 456, 457),
    501: (48,),
    408: (159,),
    413: (396,),
    503: (236,),
}
_STATUS_BY_CODE = {code: status for status, codes in _STATUS.items() for code in codes}
# How the Go client (the collector's, Grafana's) greets a server, and the revision of its protocol from
# which a column in a Native block says how it is serialised.
_GREETING = b"select displayname(), version(), revision(), timezone()"
_SERIALISATIONS = 54454
_DISPLAY_NAME = "farthing-ledger"
_SAFE = re.compile(r"[\x20-\x7e]{1,200}\Z")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read. ``data`` is None for a statement without rows behind it."""

    sql: bytes
    insert: sqltext.Insert | None = None
    data: bytes = b""
    database: str | None = None
    default_format: str = "TabSeparated"
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    readonly: bool = False
    department: str | None = None
    """Whose rows alone are shown; None: all."""
    reader: bool = False
    """Of a user who may only read: other statements are refused, even those that change no rows."""
    protocol: int = 0
    """The revision of the native protocol that the client would like Native answers in; 0: none."""


def read(method: str, headers: Mapping[str, str], params: Mapping[str, str], body: bytes) -> Call:
    """Read a request whose body has been unpacked by `unpack`. Raises EngineError.

    The statement stands in the query parameter, in the body, or in both: then a line feed joins them,
    and rows in the body follow an INSERT in the parameter.
    """
    values = dict(params)
    content_type = headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        values |= _form(content_type, body)
        body = b""
    query = values.get("query", "").encode(errors="surrogateescape")
    sql, insert, data = _statement(query, body)
    if not sqltext.first_word(sql):
        raise EngineError.of(62, "SYNTAX_ERROR", "Syntax error: Empty query")
    bound = {name[6:]: value for name, value in values.items() if name.startswith("param_")}
    if insert is not None and any(f"{{{name}:" in insert.statement for name in bound):
        raise EngineError.of(
            48,
            "NOT_IMPLEMENTED",
            "bound parameters in an INSERT with FORMAT are not supported; write the table and columns out",
        )
    return Call(
        sql,
        insert,
        data,
        headers.get("x-clickhouse-database") or values.get("database") or None,
        headers.get("x-clickhouse-format") or values.get("default_format") or "TabSeparated",
        bound,
        {k: v for k, v in values.items() if k not in _PROTOCOL and not k.startswith("param_")},
        # As in ClickHouse: a GET changes nothing, so no link and no prefetch can.
        method != "POST" or values.get("readonly", "0") != "0",
        protocol=int(asked) if (asked := values.get("client_protocol_version", "")).isdecimal() else 0,
    )


def unpack(headers: Mapping[str, str], params: Mapping[str, str], body: bytes) -> bytes:
    """Undo the body's Content-Encoding and ``decompress=1``. Raises EncodingError, TooLargeError."""
    plain = encoding.unpack(body, headers.get("content-encoding", ""))
    return encoding.unpack_blocks(plain) if params.get("decompress") == "1" and plain else plain


def _statement(query: bytes, body: bytes) -> tuple[bytes, sqltext.Insert | None, bytes]:
    insert = sqltext.find_insert(query) if query else None
    if insert is not None:
        # Rows may begin behind FORMAT in the parameter and go on in the body.
        begun = query[insert.data_start :].strip().removeprefix(b";").strip()
        return query[: insert.data_start], insert, begun + b"\n" + body if begun else body
    sql = query + b"\n" + body if query and body else query or body
    insert = sqltext.find_insert(sql)
    if insert is not None:
        return sql[: insert.data_start], insert, sql[insert.data_start :]
    return sql, None, b""


def _form(content_type: str, body: bytes) -> dict[str, str]:
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + content_type.encode(errors="replace") + b"\r\n\r\n" + body
    )
    fields: dict[str, str] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is not None or not isinstance(name, str):
            raise EngineError.of(
                48, "NOT_IMPLEMENTED", "external tables are not supported by the embedded ledger"
            )
        raw = part.get_payload(decode=True)
        fields[name] = raw.decode(errors="surrogateescape") if isinstance(raw, bytes) else ""
    return fields


def run(engine: Engine, call: Call) -> Answer:
    """Run a call (blocking). Raises EngineError."""
    if call.reader and not sqltext.answers_rows(call.sql):
        raise EngineError.of(164, "READONLY", "Cannot execute query in readonly mode")
    if call.reader and sqltext.first_word(call.sql) == b"KILL":
        raise EngineError.of(497, "ACCESS_DENIED", "a reader cannot stop queries")
    if call.protocol and b" ".join(call.sql.split()).lower() == _GREETING:
        return _greet(call.protocol, engine.version)
    if call.insert is None:
        return engine.query(
            call.sql,
            database=call.database,
            default_format=call.default_format,
            parameters=call.parameters,
            settings=call.settings,
            readonly=call.readonly,
            department=call.department,
        )
    if call.readonly:
        raise EngineError.of(
            164, "READONLY", "Cannot execute query in readonly mode: send an INSERT with POST"
        )
    return engine.insert(
        call.insert.statement,
        call.insert.input_format,
        call.data,
        database=call.database,
        settings=call.settings,
    )


def _greet(protocol: int, version: str) -> Answer:
    """Answer the Go client's greeting, which it reads as a server of its own revision would write it.

    The engine writes Native as of revision 0 (no block header, no serialisations). So that is the revision
    named here, and the client reads everything after the greeting by it.
    """

    def text(value: str) -> bytes:
        return bytes((len(value),)) + value.encode()

    serialisation = b"\0" if protocol >= _SERIALISATIONS else b""
    columns = [
        ("displayName()", "String", text(_DISPLAY_NAME)),
        ("version()", "String", text(version)),
        ("revision()", "UInt32", bytes(4)),
        ("timezone()", "String", text("UTC")),
    ]
    # Block header: not overflows, no bucket. Then the numbers of columns and rows.
    body = b"\x01\0\x02\xff\xff\xff\xff\0" + bytes((len(columns), 1))
    for name, kind, value in columns:
        body += text(name) + text(kind) + serialisation + value
    return Answer(body, "Native", 1)


def _common(query_id: str) -> dict[str, str]:
    return {
        "X-ClickHouse-Server-Display-Name": _DISPLAY_NAME,
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Timezone": "UTC",
    }


def query_id(params: Mapping[str, str]) -> str:
    """Return the request's query id, or a new one."""
    given = params.get("query_id", "")
    return given if _SAFE.match(given) else str(uuid.uuid4())


def answer(result: Answer, identifier: str, accepts: str, *, in_blocks: bool = False) -> Response:
    """Write an answer, encoded as ``accepts`` (an Accept-Encoding value, or empty) allows.

    ``in_blocks`` (``compress=1``): in native compressed blocks instead.
    """
    headers = _common(identifier)
    headers["X-ClickHouse-Summary"] = json.dumps(
        {
            "read_rows": str(result.read_rows),
            "read_bytes": str(result.read_bytes),
            "written_rows": str(result.written_rows),
            "written_bytes": str(result.written_bytes),
            "elapsed_ns": str(result.elapsed_ns),
        }
    )
    media = "text/plain; charset=UTF-8"
    if result.output_format is not None:
        headers["X-ClickHouse-Format"] = result.output_format
        media = _MEDIA.get(result.output_format.lower(), "application/octet-stream")
    if in_blocks:
        return Response(b"".join(blocks.pack_blocks(result.body)), headers=headers, media_type=media)
    chosen = encoding.choose(accepts) if result.body else ""
    if not chosen and len(result.body) < 1024 * 1024:
        return Response(result.body, headers=headers, media_type=media)
    if chosen:
        headers["Content-Encoding"] = chosen
    return StreamingResponse(encoding.pack(result.body, chosen), headers=headers, media_type=media)


_MEDIA = {
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "tabseparatedwithnames": "text/tab-separated-values; charset=UTF-8",
    "tabseparatedwithnamesandtypes": "text/tab-separated-values; charset=UTF-8",
    "tsv": "text/tab-separated-values; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "json": "application/json; charset=UTF-8",
    "jsoncompact": "application/json; charset=UTF-8",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "pretty": "text/plain; charset=UTF-8",
    "prettycompact": "text/plain; charset=UTF-8",
    "vertical": "text/plain; charset=UTF-8",
}


def refusal(
    error: EngineError, version: str, identifier: str, status: int | None = None, *, in_blocks: bool = False
) -> Response:
    """Write an error as ClickHouse does: its text (in blocks, as `answer`), and its number in a header."""
    text = str(error)
    if "(version " not in text:
        text += f" (version {version})"
    headers = {**_common(identifier), "X-ClickHouse-Exception-Code": str(error.code)}
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="farthing ledger"'
    body = (text + "\n").encode(errors="replace")
    return Response(
        b"".join(blocks.pack_blocks(body)) if in_blocks else body,
        status or _STATUS_BY_CODE.get(error.code, 500),
        headers,
        "text/plain; charset=UTF-8",
    )
