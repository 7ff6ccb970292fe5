"""The retriever of `hipporag.rag`: personalised PageRank over a graph of names and the passages that mention them.

The graph is built once, from the docstrings of Python's own standard library: a passage is joined to every name that
it mentions. A walk starts at the names that a question speaks of and spreads along the edges, so that it also finds
passages that share no word with the question but are two steps away.
"""

from collections import defaultdict
from functools import cache
from typing import Annotated

from stdlib_search import documented, words

from harmonia_compiler.sdk import Passage, items, tokens

#: How much of a step's weight returns to where the walk began, and how many steps are taken.
RESTART, STEPS = 0.5, 12
FOUND = 4

_Graph = dict[str, list[str]]


def walk(entities: list[str], question: str) -> Annotated[list[Annotated[Passage, tokens(150)]], items(4)]:
    """The passages on which a walk that starts at the entities, and at the question's own names, lies heaviest."""
    graph, texts = _graph()
    named = {word for text in (*entities, question) for word in words(text)} & graph.keys()
    if not named:
        return []
    start = {name: 1.0 / len(named) for name in sorted(named)}
    weight = dict(start)
    for _ in range(STEPS):
        spread: dict[str, float] = defaultdict(float)
        for node, mass in weight.items():
            for other in graph[node]:
                spread[other] += (1.0 - RESTART) * mass / len(graph[node])
        for name, mass in start.items():
            spread[name] += RESTART * mass
        weight = spread
    ranked = sorted((node for node in weight if node in texts), key=lambda node: (-weight[node], node))
    return [{"text": texts[node], "source": f"python:{node}", "score": weight[node]} for node in ranked[:FOUND]]


@cache
def _graph() -> tuple[_Graph, dict[str, str]]:
    """Neighbours by node (the full names of passages, and the names that they mention), and texts by passage."""
    texts = dict(documented())
    names = {part for full in texts for part in words(full)}
    graph: dict[str, set[str]] = defaultdict(set)
    for full, text in texts.items():
        for name in names & set(words(text)):
            graph[full].add(name)
            graph[name].add(full)
    return {node: sorted(others) for node, others in sorted(graph.items())}, texts
