"""The components of the Haystack pipelines (`haystack_pipelines.py`), and what they call.

A turn goes from one to the next. Haystack asks for a blocking way to run as well, which nothing here uses. Models are
`OpenAIChatGenerator`, one for each replica of a pool, of which the one with the fewest calls is asked.
"""

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any

from engines import Client, Peer, Pool, Who, prompt
from flows import is_true
from haystack import component
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage, StreamingCallbackT
from haystack.utils import Secret


@dataclass(frozen=True)
class Turn:
    """Where a request stands: its question, its round, and what it has found and said so far."""

    who: Who
    question: str
    number: int = 0
    query: str = ""
    passages: tuple[dict[str, Any], ...] = ()
    draft: str = ""
    need: str = ""
    done: bool = False


class Pools:
    """The replicas of each engine, and how components call them."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        urls = {name: [one["url"] for one in each] for name, each in peer["engines"].items()}
        self.pools = {name: Pool(each) for name, each in urls.items()}
        self.clients = {name: [Client(peer, name, url) for url in each] for name, each in urls.items()}
        self.engine = {name: one["engine"] for name, one in peer["components"].items()}
        self.models = {
            name: [self._model(one, url) for url in urls[one["engine"]]]
            for name, one in peer["components"].items()
            if one["most"] is not None
        }

    def _model(self, one: dict[str, Any], url: str) -> OpenAIChatGenerator:
        return OpenAIChatGenerator(
            api_key=Secret.from_token("unused"),
            model=self.peer["models"][one["engine"]],
            api_base_url=f"{url}v1",
            timeout=self.peer["timeout_s"],
            max_retries=0,
            generation_kwargs={"max_completion_tokens": one["most"]},
        )

    async def search(self, who: Who, query: str) -> tuple[dict[str, Any], ...]:
        """Embed a query and look in the store."""
        name = self.peer["embedder"]
        async with self.pools[self.engine[name]].one() as at:
            vector = await self.clients[self.engine[name]][at].embed(who, query)
        async with self.pools[self.engine["search"]].one() as at:
            return tuple(await self.clients[self.engine["search"]][at].search(vector))

    async def web(self, who: Who, keywords: str) -> tuple[dict[str, Any], ...]:
        """Search the web."""
        async with self.pools["web"].one() as at:
            return tuple(await self.clients["web"][at].web(who, keywords))

    async def say(self, who: Who, name: str, callback: StreamingCallbackT | None = None, **inputs: Any) -> str:
        """A model's answer, whose tokens go to the callback as they come."""
        async with self.pools[self.engine[name]].one() as at:
            said = await self.models[name][at].run_async(
                [ChatMessage.from_user(prompt(self.peer, name, **inputs))],
                streaming_callback=callback,
                generation_kwargs={"extra_headers": who.headers(name)},
            )
        return str(said["replies"][0].text or "")


@component
class Search:
    """Looks the query up, or the question where there is none yet; in each round anew, or after what was found."""

    def __init__(self, pools: Pools, most: int | None = None) -> None:
        self.pools, self.most = pools, most

    @component.output_types(turn=Turn)
    def run(self, turn: Turn) -> dict[str, Any]:
        """Not used."""
        raise NotImplementedError

    @component.output_types(turn=Turn)
    async def run_async(self, turn: Turn) -> dict[str, Any]:
        """The turn with its passages."""
        found = await self.pools.search(turn.who, turn.query or turn.question)
        if self.most is not None:
            found = (*found, *turn.passages)[: self.most]
        return {"turn": _with(turn, passages=found)}


@component
class Web:
    """Searches the web."""

    def __init__(self, pools: Pools) -> None:
        self.pools = pools

    @component.output_types(turn=Turn)
    def run(self, turn: Turn) -> dict[str, Any]:
        """Not used."""
        raise NotImplementedError

    @component.output_types(turn=Turn)
    async def run_async(self, turn: Turn) -> dict[str, Any]:
        """The turn with pages in the place of its passages."""
        return {"turn": _with(turn, passages=await self.pools.web(turn.who, turn.query))}


@component
class Ask:
    """Asks a model with a component's prompt, whose places are fields of the turn."""

    def __init__(self, pools: Pools, name: str, **fields: str) -> None:
        self.pools, self.name, self.fields = pools, name, fields

    @component.output_types(said=str, turn=Turn)
    def run(self, turn: Turn, streaming_callback: StreamingCallbackT | None = None) -> dict[str, Any]:
        """Not used."""
        raise NotImplementedError

    @component.output_types(said=str, turn=Turn)
    async def run_async(self, turn: Turn, streaming_callback: StreamingCallbackT | None = None) -> dict[str, Any]:
        """What the model said, and the turn as it was."""
        inputs = {port: getattr(turn, field) for port, field in self.fields.items()}
        said = await self.pools.say(turn.who, self.name, streaming_callback, **inputs)
        return {"said": said.strip(), "turn": turn}


@component
class Judge:
    """Keeps the passages that help."""

    def __init__(self, pools: Pools) -> None:
        self.pools = pools

    @component.output_types(turn=Turn)
    def run(self, turn: Turn) -> dict[str, Any]:
        """Not used."""
        raise NotImplementedError

    @component.output_types(turn=Turn)
    async def run_async(self, turn: Turn) -> dict[str, Any]:
        """The turn with fewer passages."""
        said = await asyncio.gather(
            *(
                self.pools.say(
                    Who(turn.who.request, f"{turn.number}/{at}"), "relevant", question=turn.question, passage=one
                )
                for at, one in enumerate(turn.passages, 1)
            )
        )
        kept = tuple(one for one, told_of in zip(turn.passages, said, strict=True) if is_true(told_of))
        return {"turn": _with(turn, passages=kept)}


@component
class Take:
    """Puts what a model said into the turn: as a field, or the thought of a step as its next query."""

    def __init__(self, field: str | None) -> None:
        self.field = field

    @component.output_types(turn=Turn)
    def run(self, said: str, turn: Turn) -> dict[str, Any]:
        """The turn with it."""
        if self.field is not None:
            return {"turn": _with(turn, **{self.field: said})}
        step = json.loads(said)
        return {"turn": _with(turn, query=step["thought"], done=step["done"])}


@component
class Round:
    """Begins the next round of a loop, or leaves it."""

    def __init__(self, *, leaves: bool = False) -> None:
        self.leaves = leaves

    @component.output_types(turn=Turn)
    def run(self, turn: Turn) -> dict[str, Any]:
        """The turn, whose calls then say in which round they are."""
        number = turn.number + 1
        who = Who(turn.who.request, "" if self.leaves else str(number))
        return {"turn": _with(turn, who=who, number=number)}


def _with(turn: Turn, **fields: Any) -> Turn:
    return replace(turn, **fields)
