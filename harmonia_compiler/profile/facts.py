"""What a running engine says of itself: its version, its context, its KV cache."""

import re
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import msgspec

from harmonia_compiler.profile.asking import NotAsked
from harmonia_compiler.profile.limits import Limits

_CACHE = re.compile(r"^vllm:cache_config_info\{(.*)\} ", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_LIMIT = aiohttp.ClientTimeout(total=20)


@dataclass(frozen=True, slots=True)
class Facts:
    """The engine by name and version, and the limits as far as they differ from those that were assumed."""

    engine: str
    limits: Limits


async def facts(url: str, model: str, assumed: Limits) -> Facts:
    """Ask an engine. What it does not say stays as assumed; raises NotAsked where it does not serve the model."""
    base = url.rstrip("/")
    async with aiohttp.ClientSession(timeout=_LIMIT) as session:
        served = _json(await _get(session, f"{base}/v1/models")).get("data")
        models = {each.get("id"): each for each in served or [] if isinstance(each, dict)}
        if model not in models:
            raise NotAsked(f"it serves {', '.join(map(repr, models)) or 'no model'}, and not {model!r}")
        version = _json(await _get(session, f"{base}/version", absent=b"{}")).get("version")
        metrics = (await _get(session, f"{base}/metrics", absent=b"")).decode(errors="replace")
    limits = assumed
    if isinstance(context := models[model].get("max_model_len"), int):
        limits = replace(limits, context=context)
    if found := _CACHE.search(metrics):
        labels = dict(_LABEL.findall(found[1]))
        if labels.get("num_gpu_blocks", "").isdigit() and labels.get("block_size", "").isdigit():
            # One of vLLM's blocks stands for those that hold nothing.
            blocks = int(labels["num_gpu_blocks"]) - 1
            limits = replace(limits, kv_blocks=blocks, block_size=int(labels["block_size"]))
        limits = replace(limits, prefix_caching=labels.get("enable_prefix_caching", "True") == "True")
    name = "vllm" if "vllm:" in metrics else "openai-compatible server"
    return Facts(f"{name} {version}" if version else name, limits)


async def _get(session: aiohttp.ClientSession, url: str, absent: bytes | None = None) -> bytes:
    async with session.get(url) as answer:
        if answer.status == 200:
            return await answer.read()
        if absent is None:
            raise NotAsked(f"{url} answers {answer.status}")
        return absent


def _json(raw: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise NotAsked(f"it answers what is no JSON object: {raw[:80]!r}")
    return found
