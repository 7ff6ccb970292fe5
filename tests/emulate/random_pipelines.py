"""What random pipelines have in common, as text: one pipeline `ask`, and components of its calls."""

from collections.abc import Mapping
from random import Random


class Writing:
    """A program of one pipeline `ask` of a text `q`, while it is written.

    Each call has a component of its own, since one that is called at several places answers as in the mean of them.
    """

    #: The type of what a call gives, by the kinds of results that there are.
    results: Mapping[str, str]

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._components: list[str] = []
        self._lines: list[str] = []

    def _call(self, kind: str, of: str) -> str:
        name = f"{kind}_{len(self._components)}"
        self._components.append(f'component {name}(q: text) -> {self.results[kind]} = small("{{q}} {name}?")\n')
        return f"{name}({of})"

    def _program(self) -> str:
        head = 'component small = llm("SmolLM2-135M-Instruct", max_tokens: 200)\n'
        body = "\n".join(self._lines)
        return f"{head}{''.join(self._components)}pipeline ask(q: text ~ 10 tokens) -> text {{\n{body}\n}}\n"
