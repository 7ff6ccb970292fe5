"""The five pipelines as Haystack pipelines: a component a step, a branch as a router, several ways in one as a joiner.

As Haystack's documentation writes them, with asynchronous components; a loop is a router back to a joiner.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Any

from engines import Who, told
from flows import KEPT, ROUNDS, THOUGHTS
from hayhooks import BasePipelineWrapper
from haystack import Pipeline
from haystack.components.joiners import BranchJoiner
from haystack.components.routers import ConditionalRouter
from haystack_steps import Ask, Judge, Pools, Round, Search, Take, Turn, Web

#: How many components of one request may run at once: all that can.
AT_ONCE = 64


def router(**conditions: str) -> ConditionalRouter:
    """Sends the turn on by the first of the conditions that holds."""
    routes = [
        {
            "condition": f"{{{{ {condition} }}}}",
            "output": "turn",
            "output_name": name,
            "output_type": Turn,
            "output_passthrough": True,
        }
        for name, condition in conditions.items()
    ]
    return ConditionalRouter(routes)


def built(components: dict[str, Any], *ways: tuple[str, str]) -> Pipeline:
    """A pipeline of components, with each `turn` going where it says; a model's words go with it."""
    found = Pipeline()
    for name, one in components.items():
        found.add_component(name, one)
    for of, to in ways:
        sender, receiver = of.partition(".")[0], to.partition(".")[0]
        found.connect(of, to)
        takes_words = isinstance(components[receiver], Take) or (
            isinstance(components[receiver], ConditionalRouter) and "said" in str(components[receiver].routes)
        )
        if isinstance(components[sender], Ask) and takes_words:
            found.connect(f"{sender}.said", f"{receiver}.said")
    return found


def vanilla(pools: Pools) -> Pipeline:
    """Retrieve, then generate."""
    components = {"begin": Search(pools), "answer": _answer(pools)}
    return built(components, ("begin.turn", "answer.turn"))


def crag(pools: Pools) -> Pipeline:
    """Corrective RAG."""
    components = {
        "begin": Search(pools),
        "grade": Ask(pools, "grade", passages="passages", question="question"),
        "router": router(web="said == 'no'", answer="said != 'no'"),
        "rewrite": Ask(pools, "rewrite", question="question"),
        "keywords": Take("query"),
        "web": Web(pools),
        "joiner": BranchJoiner(Turn),
        "answer": _answer(pools),
    }
    return built(
        components,
        ("begin.turn", "grade.turn"),
        ("grade.turn", "router.turn"),
        ("router.web", "rewrite.turn"),
        ("rewrite.turn", "keywords.turn"),
        ("keywords.turn", "web.turn"),
        ("web.turn", "joiner.value"),
        ("router.answer", "joiner.value"),
        ("joiner.value", "answer.turn"),
    )


def self_rag(pools: Pools) -> Pipeline:
    """Self-RAG."""
    components = {
        "begin": BranchJoiner(Turn),
        "round": Round(),
        "search": Search(pools),
        "judge": Judge(pools),
        "write": _answer(pools),
        "draft": Take("draft"),
        "enough": router(ended=f"turn.number >= {ROUNDS}", check=f"turn.number < {ROUNDS}"),
        "check": Ask(pools, "support", passages="passages", draft="draft"),
        "checked": router(ended="said == 'full'", anew="said != 'full'"),
        "rewrite": Ask(pools, "rewrite", question="draft"),
        "query": Take("query"),
    }
    return built(
        components,
        ("begin.value", "round.turn"),
        ("round.turn", "search.turn"),
        ("search.turn", "judge.turn"),
        ("judge.turn", "write.turn"),
        ("write.turn", "draft.turn"),
        ("draft.turn", "enough.turn"),
        ("enough.check", "check.turn"),
        ("check.turn", "checked.turn"),
        ("checked.anew", "rewrite.turn"),
        ("rewrite.turn", "query.turn"),
        ("query.turn", "begin.value"),
    )


def ircot(pools: Pools) -> Pipeline:
    """IRCoT."""
    components = {"begin": Search(pools), **_thinking(pools), "leave": Round(leaves=True), "answer": _answer(pools)}
    return built(
        components,
        ("begin.turn", "joiner.value"),
        *_THOUGHTS,
        ("rounds.ended", "leave.turn"),
        ("leave.turn", "answer.turn"),
    )


def adaptive(pools: Pools) -> Pipeline:
    """Adaptive-RAG."""
    components = {
        "begin": Ask(pools, "lookups", question="question"),
        "need": Take("need"),
        "router": router(recall="turn.need == 'none'", look="turn.need != 'none'"),
        "recall": Ask(pools, "recall", question="question"),
        "first": Search(pools),
        "often": router(once="turn.need == 'one'", more="turn.need != 'one'"),
        **_thinking(pools),
        "leave": Round(leaves=True),
        "last": BranchJoiner(Turn),
        "answer": _answer(pools),
    }
    return built(
        components,
        ("begin.turn", "need.turn"),
        ("need.turn", "router.turn"),
        ("router.recall", "recall.turn"),
        ("router.look", "first.turn"),
        ("first.turn", "often.turn"),
        ("often.more", "joiner.value"),
        *_THOUGHTS,
        ("rounds.ended", "leave.turn"),
        ("leave.turn", "last.value"),
        ("often.once", "last.value"),
        ("last.value", "answer.turn"),
    )


def _answer(pools: Pools) -> Ask:
    return Ask(pools, "answer", passages="passages", question="question")


def _thinking(pools: Pools) -> dict[str, Any]:
    """The loop of thoughts and retrieval."""
    return {
        "joiner": BranchJoiner(Turn),
        "round": Round(),
        "reason": Ask(pools, "reason", question="question", found="passages", thought="query"),
        "thought": Take(None),
        "further": Search(pools, KEPT),
        "rounds": router(
            ended=f"turn.done or turn.number >= {THOUGHTS}", more=f"not turn.done and turn.number < {THOUGHTS}"
        ),
    }


_THOUGHTS = (
    ("joiner.value", "round.turn"),
    ("round.turn", "reason.turn"),
    ("reason.turn", "thought.turn"),
    ("thought.turn", "further.turn"),
    ("further.turn", "rounds.turn"),
    ("rounds.more", "joiner.value"),
)
#: How each pipeline is built, the components whose tokens are its answer, and those of whose results one has it.
PIPELINES: dict[str, tuple[Callable[[Pools], Pipeline], list[str], list[str]]] = {
    "vanilla": (vanilla, ["answer"], []),
    "crag": (crag, ["answer"], []),
    "self_rag": (self_rag, [], ["enough", "checked"]),
    "ircot": (ircot, ["answer"], []),
    "adaptive": (adaptive, ["answer", "recall"], []),
}


class Measured(BasePipelineWrapper):
    """What hayhooks deploys; a subclass says where `peer.json` is."""

    peer = ""

    def setup(self) -> None:
        """Build the pipeline."""
        peer = told(self.peer)
        build, self.streamed, self.ends = PIPELINES[peer["pipeline"]]
        self.pipeline = build(Pools(peer))

    async def run_api_async(self, question: str, request: str) -> AsyncGenerator[str, None]:
        """One question, its answer in pieces."""
        turn = Turn(Who(request), question)
        begin = self.pipeline.get_component("begin")
        data = {"begin": {"value" if isinstance(begin, BranchJoiner) else "turn": turn}}

        async def pieces() -> AsyncGenerator[str, None]:
            if not self.streamed:
                found = await self.pipeline.run_async(data, concurrency_limit=AT_ONCE)
                yield next(found[name]["ended"].draft for name in self.ends if "ended" in found.get(name, {}))
                return
            handle = self.pipeline.stream(data, streaming_components=self.streamed, concurrency_limit=AT_ONCE)
            async for chunk in handle:
                if chunk.content:
                    yield chunk.content

        return pieces()
