"""One ledger with three months of charges and the books beside them, for all tests that read one."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from farthing.ledger import connect
from farthing.ledger.report import Asked, ask
from farthing.settings import Settings
from tests import ledger_seed
from tests.ledger_seed import Row
from tests.ledger_stack import embedded_ledger


class Seeded(NamedTuple):
    """A ledger and what was put into it."""

    settings: Settings
    client: Any
    rows: list[Row]
    books: dict[str, list[Row]]

    def ask(self, name: str, month: str = "2026-11", department: str = "", **more: Any) -> list[Row]:
        """Return the answer to a question, by column name."""
        more = {"as_of": date(2026, 12, 1), **more}
        return ask(self.client, name, Asked(month, department, **more)).records()


SMALL_BOX = {
    "node": "borrowed", "tier": "fast", "valid_from": datetime(2026, 9, 10, tzinfo=UTC),
    "valid_to": datetime(2026, 9, 10, 0, 1, 40, tzinfo=UTC), "usd_per_hour": Decimal("3.333333333"),
    "method": "rent", "note": "busier than it could have been",
}  # fmt: skip


@pytest.fixture(scope="package")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    with embedded_ledger(tmp_path_factory.mktemp("seeded")) as settings:
        client = connect(settings.ledger)
        rows = ledger_seed.seed(client)
        books = ledger_seed.seed_books(client)
        ledger_seed.insert(client, [SMALL_BOX], "hardware_costs")
        books["hardware_costs"].append(SMALL_BOX)
        books["provider_invoices"] = ledger_seed.invoices(rows)
        ledger_seed.insert(client, books["provider_invoices"], "provider_invoices")
        yield Seeded(settings, client, rows, books)
        client.close()
