"""What a running engine says of itself: its version, its context, its KV cache."""

import re
from dataclasses import dataclass, replace
from typing import Annotated

import aiohttp
import msgspec
from msgspec import Meta, Raw

from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.sse import Oversized, gathered
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.profile.asking import NotAsked
from harmonia_compiler.profile.limits import LEAST_CONTEXT, MOST_CONTEXT, Limits

_CACHE = re.compile(r"^vllm:cache_config_info\{(.*)\} ", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
#: A number of blocks, or of tokens in one; what else vLLM writes there is that it does not know.
_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_LIMIT = aiohttp.ClientTimeout(total=20)
#: The largest body that is read, in bytes.
_MOST_BYTES = 16 << 20


class _Model(msgspec.Struct):
    """A model as vLLM lists it. Of those that are not measured only the name matters."""

    id: str
    max_model_len: Raw = Raw(b"null")


class _Models(msgspec.Struct):
    data: tuple[_Model, ...]


_Context = Annotated[int, Meta(ge=LEAST_CONTEXT, le=MOST_CONTEXT)]


class _Version(msgspec.Struct):
    version: Annotated[str, Meta(max_length=100)] = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The engine by name and version, and the limits as far as they differ from those that were assumed."""

    engine: str
    limits: Limits


async def facts(url: str, model: str, assumed: Limits) -> Facts:
    """Ask an engine. What it does not say stays as assumed.

    Raises NotAsked where it does not serve the model, or says of it what cannot be.
    """
    base = url.rstrip("/")
    async with aiohttp.ClientSession(timeout=_LIMIT) as session:
        context = _context(await _get(session, f"{base}/v1/models"), model)
        version = _version(await _get(session, f"{base}/version", absent=b""))
        metrics = (await _get(session, f"{base}/metrics", absent=b"")).decode(errors="replace")
    limits = assumed if context is None else replace(assumed, context=context)
    if found := _CACHE.search(metrics):
        labels = dict(_LABEL.findall(found[1]))
        blocks, size = (_count(labels.get(name, "")) for name in ("num_gpu_blocks", "block_size"))
        if blocks > 1 and size:
            # One of vLLM's blocks stands for those that hold nothing.
            limits = replace(limits, kv_blocks=blocks - 1, block_size=size)
        limits = replace(limits, prefix_caching=labels.get("enable_prefix_caching", "True") == "True")
    name = "vllm" if "vllm:" in metrics else "openai-compatible server"
    return Facts(f"{name} {version}" if version else name, limits)


def _context(raw: bytes, model: str) -> int | None:
    """The most tokens that a model takes, by the list of what is served; None where that does not say it."""
    try:
        models = {each.id: each for each in decode_document(raw, _Models).data}
    except msgspec.MsgspecError as problem:
        raise NotAsked(f"it lists no models: {raw[:80]!r}: {problem}") from None
    if model not in models:
        raise NotAsked(f"it serves {listed(models, most=20) or 'no model'}, and not `{model}`")
    said = bytes(models[model].max_model_len)
    try:
        return None if said == b"null" else decode_document(said, _Context)
    except msgspec.MsgspecError as problem:
        raise NotAsked(f"the `max_model_len` that it says is {said[:40]!r}: {problem}") from None


def _version(raw: bytes) -> str:
    """What an engine calls its version; nothing where it says none, which does no harm."""
    try:
        return decode_document(raw, _Version).version
    except msgspec.MsgspecError:
        return ""


def _count(label: str) -> int:
    """A whole number above 0; 0 where a label is none."""
    return int(label) if _COUNT.fullmatch(label) else 0


async def _get(session: aiohttp.ClientSession, url: str, absent: bytes | None = None) -> bytes:
    async with session.get(url) as answer:
        if answer.status == 200:
            try:
                return await gathered(answer.content.iter_any(), _MOST_BYTES)
            except Oversized:
                raise NotAsked(f"{url} answers with more than {_MOST_BYTES >> 20} MiB") from None
        if absent is None:
            raise NotAsked(f"{url} answers {answer.status}")
        return absent
