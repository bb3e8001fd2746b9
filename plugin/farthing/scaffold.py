"""`farthing init`: the two configuration files a proxy needs, and the secrets they name."""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

import yaml

from farthing.proxy.accounts import hash_key

LOCAL_MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where the fast and the strong tier come from."""

    provider: str
    fast: str
    strong: str
    key_variable: str
    """The environment variable with the provider's key; empty for stand-ins."""

    @property
    def stand_in(self) -> bool:
        """Whether the local model plays the cloud models, for want of a provider's key."""
        return not self.key_variable

    @property
    def served_names(self) -> list[str]:
        """The names that the local tier must answer to beside its own: those of the stand-ins."""
        return [stand_in_name(model) for model in (self.fast, self.strong)] if self.stand_in else []


def stand_in_name(model: str) -> str:
    """Return the name a stand-in is called by, which says what it is wherever LiteLLM itself shows it."""
    return f"{model}-stand-in"


OPENAI = Cloud("openai", "gpt-5-mini", "gpt-5", "OPENAI_API_KEY")
ANTHROPIC = Cloud("anthropic", "claude-haiku-4-5", "claude-sonnet-5", "ANTHROPIC_API_KEY")
STAND_IN = Cloud("openai", "gpt-5-mini", "gpt-5", "")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key made for a user, with what the key ring records of it."""

    secret: str
    user: str
    department: str
    cost_centre: str
    credits: int
    models: tuple[str, ...] = ("auto", "local", "fast", "strong")
    stream_receipt: bool = True
    admin: bool = False

    def entry(self) -> dict[str, object]:
        """Return the key's entry in farthing.yaml: the hash, never the key."""
        return {
            "sha256": hash_key(self.secret),
            "user": self.user,
            "department": self.department,
            "cost_centre": self.cost_centre,
            "credits": self.credits,
            "models": list(self.models),
            **({"stream_receipt": True} if self.stream_receipt else {}),
            **({"admin": True} if self.admin else {}),
        }


def new_secret() -> str:
    """Return a fresh key: 192 random bits behind LiteLLM's usual prefix."""
    return f"sk-{secrets.token_urlsafe(24)}"


def curl(proxy_url: str, secret: str) -> str:
    """Return a command that asks the proxy something, for people to paste."""
    body = '{"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}'
    return (
        f"  curl -i {proxy_url}/v1/chat/completions -H 'Authorization: Bearer {secret}' \\\n"
        f"    -H 'Content-Type: application/json' -d '{body}'"
    )


def choose_cloud(environment: Mapping[str, str]) -> Cloud:
    """Return the provider whose key is set (OpenAI before Anthropic), else the stand-ins."""
    for cloud in (OPENAI, ANTHROPIC):
        if environment.get(cloud.key_variable):
            return cloud
    return STAND_IN


def write(
    folder: Path,
    keys: Sequence[NewKey],
    *,
    organisation: str = "My organisation",
    tier_url: str = "http://127.0.0.1:8900",
    ledger_url: str = "http://127.0.0.1:8123",
    cloud: Cloud = STAND_IN,
    departments: Mapping[str, object] | None = None,
    replace: bool = False,
) -> dict[str, str]:
    """Write litellm.yaml, farthing.yaml and farthing.env (secrets, mode 0600) into ``folder``.

    ``departments`` are their budgets, as under ``credits.departments``.
    Returns the secrets by variable name. Raises FileExistsError before anything is written if one of
    the files is there and ``replace`` is False.
    """
    names = ("litellm.yaml", "farthing.yaml", "farthing.env")
    taken = [name for name in names if (folder / name).exists()]
    if taken and not replace:
        raise FileExistsError(f"{folder / taken[0]} exists; choose another folder or pass --force")
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "organisation": yaml.safe_dump(organisation, width=10**6).splitlines()[0],
        "keys": _indented(yaml.safe_dump([key.entry() for key in keys], sort_keys=False)),
        "departments": _departments(departments or {}),
        "baseline": cloud.strong,
        "local_model": LOCAL_MODEL,
        "tier_url": tier_url,
        "tier_port": str(urlsplit(tier_url).port),
        "ledger_url": ledger_url,
        "cloud": _cloud_deployments(cloud, tier_url),
    }
    for name in names[:2]:
        template = Template((files("farthing") / "templates" / name).read_text(encoding="utf-8"))
        (folder / name).write_text(template.substitute(values), encoding="utf-8")
    environment = {"LITELLM_MASTER_KEY": new_secret(), "FARTHING_LEDGER_PASSWORD": secrets.token_urlsafe(18)}
    _write_private(folder / names[2], environment)
    return environment


def _departments(departments: Mapping[str, object]) -> str:
    if not departments:
        return "  # departments: {research: {monthly: 50000, roll_over: 10000}} # a budget"
    return "  departments: " + yaml.safe_dump(dict(departments), default_flow_style=True, width=10**6).strip()


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def _cloud_deployments(cloud: Cloud, tier_url: str) -> str:
    lines = ["  # The fast and the strong cloud tier."]
    if cloud.stand_in:
        lines = [
            "  # No provider's key was set: the local model stands in for the cloud models, priced at their",
            '  # list prices and labelled "(stand-in)" wherever it shows. Put real ones here instead.',
        ]
    for tier, model in (("fast", cloud.fast), ("strong", cloud.strong)):
        target = f"model: {cloud.provider}/{stand_in_name(model) if cloud.stand_in else model}"
        if cloud.stand_in:
            lines += [
                f"  - model_name: {tier}",
                f'    litellm_params: {{{target}, api_base: "{tier_url}/v1", api_key: none}}',
                f"    model_info: {{base_model: {model}, stand_in: true}}",
            ]
        else:
            lines += [
                f"  - model_name: {tier}",
                f"    litellm_params: {{{target}, api_key: os.environ/{cloud.key_variable}}}",
            ]
    return "\n".join(lines) + "\n"


def _write_private(path: Path, environment: Mapping[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)  # the file may be older than this run
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for name, value in environment.items():
            file.write(f"export {name}={value}\n")
        file.write("export LITELLM_LOCAL_MODEL_COST_MAP=True # prices come from the installed LiteLLM\n")
