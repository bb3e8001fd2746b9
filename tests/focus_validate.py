"""Runs the FinOps Foundation's FOCUS validator over files that `farthing focus export` writes.

``python -m tests.focus_validate VALIDATOR_PYTHON`` seeds an embedded ledger (tests/ledger_seed.py), exports
November as CSV and as Parquet, and one department whose name is ASCII, and exits 0 if the validator
finds nothing but the exceptions argued in docs/focus.md; 1 if it finds more, or less than is argued.

VALIDATOR_PYTHON is the interpreter of an environment with requirements/focus-validator.txt, which `make
focus-validate` makes. No network is needed: the rules of FOCUS 1.2 are in the validator's wheel.
"""

import re
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

from farthing.ledger import connect
from farthing.ledger.focus import export
from tests import ledger_seed
from tests.ledger_stack import embedded_ledger

# What a gateway in front of models offers. Not among them: commitment discounts, capacity reservations,
# regions and availability zones, none of which are known here.
CRITERIA = (
    "ACCOUNT_NAMING_SUPPORTED", "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED",
    "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED", "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED", "NEGOTIATED_PRICING_SUPPORTED",
    "PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED", "PUBLIC_PRICE_LIST_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED", "SUB_ACCOUNT_SUPPORTED", "TAGGING_SUPPORTED",
    "UNIT_PRICING_SUPPORTED", "USAGE_MEASUREMENT_SUPPORTED", "VIRTUAL_CURRENCY_SUPPORTED",
)  # fmt: skip

# Each is argued in docs/focus.md. A rule that gathers others fails with them, and is not named here.
ALWAYS = frozenset({"InvoiceId-C-005-C", "PricingCurrency-C-003-M"})
NAMES_BEYOND_ASCII = frozenset({"SubAccountId-C-002-M", "SubAccountName-C-002-M"})

_TOTAL = re.compile(r"^Total: (\d+) \| Pass: (\d+) \| Fail: (\d+) \| Skipped: (\d+)", re.MULTILINE)
_FAILED = re.compile(r"^❌ ([\w-]+): FAIL\s+\((?!violations=1, msg=[\w-]+: AND failed)(.*)", re.MULTILINE)


def validate(python: Path, file: Path) -> tuple[str, dict[str, str]]:
    """Return the validator's totals, and each rule that failed with what was said of it."""
    where = subprocess.run(
        [python, "-c", "import focus_validator; print(focus_validator.__path__[0])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    ran = subprocess.run(
        [
            python, "-m", "focus_validator.main", "--data-file", str(file), "--validate-version", "1.2",
            "--block-download", "--applicability-criteria", ",".join(CRITERIA),
        ],
        # It opens its list of currencies by a path relative to its own parent.
        cwd=Path(where).parent, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    found = _TOTAL.search(ran.stdout)
    if not found:
        raise SystemExit(f"the validator did not finish ({ran.returncode}):\n{ran.stdout}\n{ran.stderr}")
    return found[0], {match[1]: match[2] for match in _FAILED.finditer(ran.stdout)}


def main(python: Path) -> int:
    """Export, validate, and say what was found; return the exit status."""
    worse = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with embedded_ledger(folder / "ledger") as settings:
            client = connect(settings.ledger)
            ledger_seed.seed(client)
            ledger_seed.seed_books(client)
            files = {}
            for department, fmt, argued in (
                ("", "csv", ALWAYS | NAMES_BEYOND_ASCII),
                ("", "parquet", ALWAYS | NAMES_BEYOND_ASCII),
                ("sales", "csv", ALWAYS),
            ):
                file = folder / f"{department or 'all'}.{fmt}"
                export(
                    client, "2026-11", file, fmt=fmt, organisation="Acme",
                    usd_per_credit=Decimal("0.001"), department=department,
                )  # fmt: skip
                files[file] = argued
        for file, argued in files.items():
            totals, failed = validate(python, file)
            print(f"{file.name}: {totals}")
            for rule, text in failed.items():
                print(f"  {'argued' if rule in argued else 'NOT ARGUED'}: {rule} ({text}")
            for rule in sorted(argued - failed.keys()):
                print(f"  argued, and passed: {rule}; take it out of docs/focus.md")
            worse |= failed.keys() != argued
    return 1 if worse else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tests.focus_validate VALIDATOR_PYTHON (see `make focus-validate`)")
    sys.exit(main(Path(sys.argv[1])))
