"""Keeping the lines of an export in provider_invoices."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from farthing.ledger.invoices.lines import InvoiceFile, InvoiceLine
from farthing.money import nano_from_usd, usd_text

_COLUMNS = (
    "provider", "day", "model", "line", "project", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_write_tokens", "requests", "amount_usd", "currency", "source_file", "source_sha256", "imported_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import changed: lines that are new or different, lines gone, and lines as they were."""

    written: int
    removed: int
    unchanged: int


def keep(client: Any, file: InvoiceFile, *, dry_run: bool = False) -> Imported:
    """Make the provider's lines of the file's kind and days those of ``file``, and no others.

    All or nothing, in one insert; the same file again changes nothing. With ``dry_run`` nothing is written.
    Raises what clickhouse-connect raises.
    """
    asked = {"provider": file.provider, "kind": file.kind, "days": sorted(file.days)}
    before = {_key(line): line for line in _stored(client, asked)}
    after = {_key(line): line for line in file.lines}
    new = [line for key, line in after.items() if before.get(key) != line]
    gone = [line for key, line in before.items() if key not in after]
    done = Imported(len(new), len(gone), len(after) - len(new))
    if dry_run or not (new or gone):
        return done
    now = datetime.now(UTC)
    # A line that the new export no longer has is overwritten with nothing, in the same insert.
    rows = [_row(file, line, now) for line in new]
    rows += [_row(file, _nothing(line), now) for line in gone]
    client.insert("provider_invoices", rows, column_names=list(_COLUMNS))
    return done


def _stored(client: Any, asked: dict[str, Any]) -> list[InvoiceLine]:
    rows = client.query(
        """SELECT day, model, line, project, input_tokens, output_tokens, cache_read_tokens,
            cache_write_tokens, requests, amount_usd
        FROM provider_invoices FINAL
        WHERE provider = {provider:String} AND day IN {days:Array(Date)}
            AND if({kind:String} = 'usage', amount_usd IS NULL, amount_usd IS NOT NULL)""",
        parameters=asked,
    ).result_rows
    lines = [
        InvoiceLine(
            day, str(model), line, project, int(sent), int(written), int(read), int(cached), int(requests),
            None if usd is None else nano_from_usd(usd),
        )
        for day, model, line, project, sent, written, read, cached, requests, usd in rows
    ]  # fmt: skip
    return [line for line in lines if line != _nothing(line)]


def _key(line: InvoiceLine) -> tuple[date, str, str, str]:
    return line.day, line.model, line.line, line.project


def _nothing(line: InvoiceLine) -> InvoiceLine:
    """Return the line that says that there is none."""
    return InvoiceLine(*_key(line), amount=None if line.amount is None else 0)


def _row(file: InvoiceFile, line: InvoiceLine, now: datetime) -> list[object]:
    return [
        file.provider, line.day, line.model, line.line, line.project, line.input_tokens, line.output_tokens,
        line.cache_read_tokens, line.cache_write_tokens, line.requests,
        None if line.amount is None else Decimal(usd_text(line.amount)), "USD", file.name, file.sha256, now,
    ]  # fmt: skip
