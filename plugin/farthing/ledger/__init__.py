"""The ledger: its migrations, the embedded server, and what is read from it.

Reading (`farthing.ledger.statement`, `farthing.ledger.trace`) needs the extra ``statement``; the embedded
server (`farthing.ledger.server`) needs the extra ``ledger``.
"""

from farthing.ledger.client import connect, prepare
from farthing.ledger.errors import LedgerError
from farthing.ledger.schema import migrate

__all__ = ["LedgerError", "connect", "migrate", "prepare"]
