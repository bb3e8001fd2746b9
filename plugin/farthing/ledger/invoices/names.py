"""One name for a model in the ledger and on an invoice.

invoice_variance.sql does the same with the ledger's names.
"""

import re

_DATE = re.compile(r"[-@](?:20\d\d-\d\d-\d\d|20\d{6}|latest)\Z")


def plain(model: str) -> str:
    """Return a model's name without provider prefix and date, in lower case.

    ``openai/gpt-5-2025-08-07`` → ``gpt-5``. A name for people, as Anthropic's console exports it, becomes
    the API's: ``Claude Haiku 4.5`` → ``claude-haiku-4-5``.
    """
    name = model.strip().lower().rpartition("/")[2]
    if name.startswith("claude "):
        name = re.sub(r"[ .]+", "-", name)
    return _DATE.sub("", name)


_LINE_ITEM = re.compile(r"(?:[\w ]+ \| )?(?P<model>[^\s,|]+)(?: (?:text|audio|image))?, .+\Z")


def model_of_line_item(line_item: str) -> str:
    """Return the model that a line of OpenAI's costs is for; empty if it is for none.

    ``gpt-5-2025-08-07, cached input`` and ``priority | gpt-5.6, output, long context`` name one; ``web search
    tool calls`` does not.
    """
    found = _LINE_ITEM.match(line_item)
    return found["model"] if found else ""
