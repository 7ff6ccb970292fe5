"""The five pipelines as plain Python (`bench/pipelines/*.rag`), over whatever makes their calls.

As somebody writes them by hand for Ray Serve: what does not depend on each other at once, and nothing that no answer
needs.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from engines import Passage, Who

#: How many rounds Self-RAG and IRCoT take at most, and how many passages IRCoT keeps.
ROUNDS, THOUGHTS, KEPT = 3, 4, 8


class Calls(Protocol):
    """What a pipeline calls."""

    async def search(self, who: Who, query: str) -> list[Passage]:
        """Embed a query and look in the store."""
        ...

    async def say(self, who: Who, component: str, **inputs: Any) -> str:
        """A model's whole answer."""
        ...

    def stream(self, who: Who, component: str, **inputs: Any) -> AsyncIterator[str]:
        """A model's answer token by token."""
        ...

    async def web(self, who: Who, keywords: str) -> list[Passage]:
        """Search the web."""
        ...


async def vanilla(calls: Calls, request: str, question: str) -> AsyncIterator[str]:
    """Retrieve, then generate."""
    who = Who(request)
    passages = await calls.search(who, question)
    async for text in calls.stream(who, "answer", passages=passages, question=question):
        yield text


async def crag(calls: Calls, request: str, question: str) -> AsyncIterator[str]:
    """Corrective RAG: where what was found does not answer the question, the web is asked."""
    who = Who(request)
    passages = await calls.search(who, question)
    if (await calls.say(who, "grade", passages=passages, question=question)).strip() == "no":
        passages = await calls.web(who, await calls.say(who, "rewrite", question=question))
    async for text in calls.stream(who, "answer", passages=passages, question=question):
        yield text


async def self_rag(calls: Calls, request: str, question: str) -> AsyncIterator[str]:
    """Self-RAG: each passage is judged, and an answer that is not supported is written again with a better query."""
    query = draft = question
    for number in range(1, ROUNDS + 1):
        who = Who(request, str(number))
        found = await calls.search(who, query)
        judged = await asyncio.gather(
            *(
                calls.say(Who(request, f"{number}/{at}"), "relevant", question=question, passage=one)
                for at, one in enumerate(found, 1)
            )
        )
        passages = [one for one, said in zip(found, judged, strict=True) if is_true(said)]
        draft = await calls.say(who, "answer", passages=passages, question=question)
        if number == ROUNDS or (await calls.say(who, "support", passages=passages, draft=draft)).strip() == "full":
            break
        query = await calls.say(who, "rewrite", question=draft)
    yield draft


async def ircot(calls: Calls, request: str, question: str) -> AsyncIterator[str]:
    """IRCoT: thoughts and retrieval in turns, each thought the next query."""
    who, thought = Who(request), ""
    found = await calls.search(who, question)
    for number in range(1, THOUGHTS + 1):
        within = Who(request, str(number))
        step = json.loads(await calls.say(within, "reason", question=question, found=found, thought=thought))
        thought = step["thought"]
        found = [*await calls.search(within, thought), *found][:KEPT]
        if step["done"]:
            break
    async for text in calls.stream(who, "answer", passages=found, question=question):
        yield text


async def adaptive(calls: Calls, request: str, question: str) -> AsyncIterator[str]:
    """Adaptive-RAG: a classifier chooses to look nothing up, to look it up once, or step by step."""
    who = Who(request)
    need = (await calls.say(who, "lookups", question=question)).strip()
    if need == "none":
        pieces = calls.stream(who, "recall", question=question)
    elif need == "one":
        pieces = vanilla(calls, request, question)
    else:
        pieces = ircot(calls, request, question)
    async for text in pieces:
        yield text


def is_true(said: str) -> bool:
    """Whether a model said that something is so."""
    return said.strip().lower() in {"true", "yes"}


FLOWS: dict[str, Callable[[Calls, str, str], AsyncIterator[str]]] = {
    "vanilla": vanilla,
    "crag": crag,
    "self_rag": self_rag,
    "adaptive": adaptive,
    "ircot": ircot,
}
