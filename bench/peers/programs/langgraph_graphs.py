"""The five pipelines as LangGraph graphs: a node a step, a branch or a loop as a conditional edge.

As LangGraph's documentation writes corrective, adaptive and self-reflective RAG; calls that do not depend on each other
are one node that awaits them together. Each builder gives the compiled graph and the nodes whose tokens are the answer,
none where it is not streamed.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypedDict

from engines import Passage, Who
from flows import KEPT, ROUNDS, THOUGHTS, is_true
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph

Built = tuple[Any, frozenset[str]]


class State(TypedDict, total=False):
    """What the steps of one request hand on."""

    question: str
    query: str
    passages: list[Passage]
    grade: str
    draft: str
    support: str
    thought: str
    done: bool
    need: str
    round: int


class Nodes:
    """The nodes that several graphs have, over what they call."""

    def __init__(self, calls: Any) -> None:
        self.calls = calls

    async def search(self, state: State, config: RunnableConfig) -> State:
        """Look the question up."""
        return {"passages": await self.calls.search(who(config), state["question"])}

    async def grade(self, state: State, config: RunnableConfig) -> State:
        """Ask whether the passages answer the question."""
        return {"grade": await self._say(config, who(config), "grade", state, "passages", "question")}

    async def rewrite(self, state: State, config: RunnableConfig) -> State:
        """Make the question keywords for a search of the web."""
        return {"query": await self._say(config, who(config), "rewrite", state, "question")}

    async def web(self, state: State, config: RunnableConfig) -> State:
        """Search the web."""
        return {"passages": await self.calls.web(who(config), state["query"])}

    async def answer(self, state: State, config: RunnableConfig) -> State:
        """Answer the question from the passages."""
        return {"draft": await self._say(config, who(config), "answer", state, "passages", "question")}

    async def recall(self, state: State, config: RunnableConfig) -> State:
        """Answer the question from memory."""
        return {"draft": await self._say(config, who(config), "recall", state, "question")}

    async def route(self, state: State, config: RunnableConfig) -> State:
        """Ask how often something has to be looked up."""
        return {"need": (await self._say(config, who(config), "lookups", state, "question")).strip()}

    async def reason(self, state: State, config: RunnableConfig) -> State:
        """One more thought."""
        number = state.get("round", 0) + 1
        said = await self.calls.say(
            config,
            who(config, number),
            "reason",
            question=state["question"],
            found=state["passages"],
            thought=state.get("thought", ""),
        )
        step = json.loads(said)
        return {"thought": step["thought"], "done": step["done"], "round": number}

    async def look_further(self, state: State, config: RunnableConfig) -> State:
        """Look the thought up."""
        found = await self.calls.search(who(config, state["round"]), state["thought"])
        return {"passages": [*found, *state["passages"]][:KEPT]}

    async def look(self, state: State, config: RunnableConfig) -> State:
        """Look the query of this round up."""
        number = state.get("round", 0) + 1
        found = await self.calls.search(who(config, number), state.get("query", state["question"]))
        return {"passages": found, "round": number}

    async def judge(self, state: State, config: RunnableConfig) -> State:
        """Keep the passages that help."""
        given = state["passages"]
        request, number = who(config).request, state["round"]
        said = await asyncio.gather(
            *(
                self.calls.say(
                    config, Who(request, f"{number}/{at}"), "relevant", question=state["question"], passage=one
                )
                for at, one in enumerate(given, 1)
            )
        )
        return {"passages": [one for one, told in zip(given, said, strict=True) if is_true(told)]}

    async def write(self, state: State, config: RunnableConfig) -> State:
        """A draft from what was kept."""
        within = who(config, state["round"])
        return {"draft": await self._say(config, within, "answer", state, "passages", "question")}

    async def support(self, state: State, config: RunnableConfig) -> State:
        """Ask whether the passages support the draft."""
        within = who(config, state["round"])
        return {"support": (await self._say(config, within, "support", state, "passages", "draft")).strip()}

    async def ask_anew(self, state: State, config: RunnableConfig) -> State:
        """A better query."""
        within = who(config, state["round"])
        return {"query": await self.calls.say(config, within, "rewrite", question=state["draft"])}

    async def _say(self, config: RunnableConfig, of: Who, component: str, state: State, *names: str) -> str:
        return str(await self.calls.say(config, of, component, **{name: state[name] for name in names}))  # type: ignore[literal-required]


def who(config: RunnableConfig, number: int | None = None) -> Who:
    """For which request a node works, and in which round."""
    return Who(str(config["configurable"]["request"]), "" if number is None else str(number))


def vanilla(calls: Any) -> Built:
    """Retrieve, then generate."""
    nodes = Nodes(calls)
    graph = StateGraph(State).add_node("search", nodes.search).add_node("write", nodes.answer)
    graph.add_edge(START, "search").add_edge("search", "write").add_edge("write", END)
    return graph.compile(), frozenset({"write"})


def crag(calls: Any) -> Built:
    """Corrective RAG."""
    nodes = Nodes(calls)
    graph = StateGraph(State).add_node("search", nodes.search).add_node("judge", nodes.grade)
    graph.add_node("rewrite", nodes.rewrite).add_node("web", nodes.web).add_node("write", nodes.answer)
    graph.add_edge(START, "search").add_edge("search", "judge")
    graph.add_conditional_edges(
        "judge", lambda state: "rewrite" if state["grade"].strip() == "no" else "write", ["rewrite", "write"]
    )
    graph.add_edge("rewrite", "web").add_edge("web", "write").add_edge("write", END)
    return graph.compile(), frozenset({"write"})


def self_rag(calls: Any) -> Built:
    """Self-RAG."""
    nodes = Nodes(calls)
    graph = StateGraph(State).add_node("look", nodes.look).add_node("judge", nodes.judge)
    graph.add_node("write", nodes.write).add_node("check", nodes.support).add_node("anew", nodes.ask_anew)
    graph.add_edge(START, "look").add_edge("look", "judge").add_edge("judge", "write")
    graph.add_conditional_edges("write", lambda state: END if state["round"] == ROUNDS else "check", ["check", END])
    graph.add_conditional_edges("check", lambda state: END if state["support"] == "full" else "anew", ["anew", END])
    graph.add_edge("anew", "look")
    return graph.compile(), frozenset()


def ircot(calls: Any) -> Built:
    """IRCoT."""
    nodes = Nodes(calls)
    graph = _thinking(StateGraph(State).add_node("search", nodes.search), nodes)
    graph.add_edge(START, "search").add_edge("search", "reason")
    return graph.compile(), frozenset({"write"})


def adaptive(calls: Any) -> Built:
    """Adaptive-RAG."""
    nodes = Nodes(calls)
    graph = _thinking(StateGraph(State).add_node("search", nodes.search), nodes)
    graph.add_node("route", nodes.route).add_node("recall", nodes.recall)
    graph.add_edge(START, "route").add_edge("recall", END)
    graph.add_conditional_edges(
        "route", lambda state: "recall" if state["need"] == "none" else "search", ["recall", "search"]
    )
    graph.add_conditional_edges(
        "search", lambda state: "write" if state["need"] == "one" else "reason", ["write", "reason"]
    )
    return graph.compile(), frozenset({"write", "recall"})


def _thinking(graph: StateGraph, nodes: Nodes) -> StateGraph:
    """Thoughts and retrieval in turns, and then the answer."""
    graph.add_node("reason", nodes.reason).add_node("further", nodes.look_further).add_node("write", nodes.answer)
    graph.add_edge("reason", "further").add_edge("write", END)
    graph.add_conditional_edges(
        "further",
        lambda state: "write" if state["done"] or state["round"] == THOUGHTS else "reason",
        ["reason", "write"],
    )
    return graph


GRAPHS: dict[str, Callable[[Any], Built]] = {
    "vanilla": vanilla,
    "crag": crag,
    "self_rag": self_rag,
    "adaptive": adaptive,
    "ircot": ircot,
}
