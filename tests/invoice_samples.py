"""Providers' exports, made up here after their published formats: no account's data is in them."""

import json
from typing import Any

DAY_10, DAY_11, DAY_12 = 1_794_268_800, 1_794_355_200, 1_794_441_600
"""2026-11-10, -11 and -12, 00:00 UTC, in seconds."""


def openai_bucket(start: int, *results: dict[str, Any], seconds: int = 86_400) -> dict[str, Any]:
    """Return a time bucket of OpenAI's usage or costs API."""
    return {"object": "bucket", "start_time": start, "end_time": start + seconds, "results": list(results)}


def openai_usage(model: str = "gpt-5-2025-08-07", **changes: Any) -> dict[str, Any]:
    """Return a result of OpenAI's completions usage."""
    return {
        "object": "organization.usage.completions.result", "input_tokens": 1000, "output_tokens": 200,
        "input_cached_tokens": 300, "input_audio_tokens": 0, "output_audio_tokens": 0,
        "num_model_requests": 5, "project_id": "proj_a", "user_id": None, "api_key_id": None,
        "model": model, "batch": None, "service_tier": None, **changes,
    }  # fmt: skip


def openai_cost(line: str | None, value: Any, **changes: Any) -> dict[str, Any]:
    """Return a result of OpenAI's costs."""
    return {
        "object": "organization.costs.result", "amount": {"value": value, "currency": "usd"},
        "line_item": line, "project_id": "proj_a", **changes,
    }  # fmt: skip


def openai_page(*buckets: dict[str, Any], has_more: bool = False) -> str:
    """Return a page of OpenAI's API as text."""
    return json.dumps(
        {"object": "page", "data": list(buckets), "has_more": has_more, "next_page": None}, indent=2
    )


def anthropic_bucket(day: str, *results: dict[str, Any]) -> dict[str, Any]:
    """Return a time bucket of Anthropic's Admin API; ``day`` is like 2026-11-10."""
    after = f"{day[:8]}{int(day[8:]) + 1:02d}"
    return {
        "starting_at": f"{day}T00:00:00Z",
        "ending_at": f"{after}T00:00:00Z",
        "results": list(results),
    }


def anthropic_usage(**changes: Any) -> dict[str, Any]:
    """Return a result of Anthropic's messages usage report."""
    return {
        "uncached_input_tokens": 700, "output_tokens": 90, "cache_read_input_tokens": 300,
        "cache_creation": {"ephemeral_1h_input_tokens": 20, "ephemeral_5m_input_tokens": 80},
        "server_tool_use": {"web_search_requests": 0}, "api_key_id": None, "workspace_id": "wrkspc_1",
        "model": "claude-sonnet-4-5-20250929", "service_tier": "standard", "context_window": "0-200k",
        **changes,
    }  # fmt: skip


def anthropic_cost(amount: str, **changes: Any) -> dict[str, Any]:
    """Return a result of Anthropic's cost report; ``amount`` is in cents."""
    return {
        "amount": amount, "currency": "USD", "cost_type": "tokens", "model": "claude-sonnet-4-5-20250929",
        "description": "Claude Sonnet 4.5 Usage - Output Tokens", "token_type": "output_tokens",
        "service_tier": "standard", "context_window": "0-200k", "workspace_id": None, **changes,
    }  # fmt: skip


def anthropic_page(*buckets: dict[str, Any]) -> str:
    """Return a page of Anthropic's API as text."""
    return json.dumps({"data": list(buckets), "has_more": False, "next_page": None})


OPENAI_USAGE_CSV = (
    "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,"
    "batch,service_tier,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens\n"
    f"{DAY_10},{DAY_11},2026-11-10T00:00:00+00:00,2026-11-11T00:00:00+00:00,proj_a,5.0,user-1,key_1,"
    "gpt-5-2025-08-07,FALSE,default,1000.0,200.0,300.0,700.0\n"
    f"{DAY_10},{DAY_11},2026-11-10T00:00:00+00:00,2026-11-11T00:00:00+00:00,proj_a,1.0,user-2,key_2,"
    "gpt-5-2025-08-07,FALSE,default,50.0,20.0,0.0,50.0\n"
    f"{DAY_11},{DAY_12},2026-11-11T00:00:00+00:00,2026-11-12T00:00:00+00:00,,,,,,,,,,,\n"
)
OPENAI_COST_CSV = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id,"
    "organization_id,organization_name\n"
    f"{DAY_10},{DAY_11},2026-11-10T00:00:00+00:00,2026-11-11T00:00:00+00:00,0.0012500000000001,usd,"
    '"gpt-5-2025-08-07, input",proj_a,org-1,Acme\n'
    f"{DAY_10},{DAY_11},2026-11-10T00:00:00+00:00,2026-11-11T00:00:00+00:00,-2.5,usd,"
    '"Service credit",,org-1,Acme\n'
    f"{DAY_11},{DAY_12},2026-11-11T00:00:00+00:00,2026-11-12T00:00:00+00:00,,,,,,\n"
)
ANTHROPIC_USAGE_CSV = (
    "\ufeffusage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
    "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
    "usage_output_tokens,web_search_count,inference_geo,speed\n"
    "2026-11-10,claude-haiku-4-5-20251001,agents,Default,standard,≤ 200k,700,80,20,300,90,0,global,\n"
)
ANTHROPIC_COST_CSV = (
    "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,"
    "cost_type,inference_geo,speed\n"
    "2026-11-10,Claude Haiku 4.5,Default,agents,message,≤ 200k,input_no_cache,0.07,0.07,token,global,\n"
    "2026-11-10,Claude Haiku 4.5,Default,agents,message,≤ 200k,output,0.05,0.05,token,global,\n"
)
