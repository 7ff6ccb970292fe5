"""A second source for `corrective.rag`: keyword search over the documentation inside Python itself.

It needs no network and no index on disk: the docstrings of the standard library are read once and
ranked by BM25, the usual formula of keyword search.
"""

import inspect
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

MODULES = (
    "asyncio", "collections", "contextlib", "csv", "dataclasses", "datetime", "functools", "hashlib", "heapq",
    "itertools", "json", "logging", "math", "os", "os.path", "pathlib", "random", "re", "shutil", "socket",
    "sqlite3", "statistics", "string", "subprocess", "tempfile", "textwrap", "threading", "time", "urllib.parse",
)  # fmt: skip
FOUND = 4
SATURATION, LENGTH_WEIGHT = 1.2, 0.75


def search(query: str) -> list[dict[str, Any]]:
    """The docstrings that fit the query best, as passages with text, source and score."""
    entries, frequency, mean_length = _index()
    wanted = set(words(query))
    scored = []
    for name, text, counts in entries:
        length = sum(counts.values())
        score = 0.0
        for word in wanted & counts.keys():
            rarity = math.log(1 + (len(entries) - frequency[word] + 0.5) / (frequency[word] + 0.5))
            damping = counts[word] + SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * length / mean_length)
            score += rarity * counts[word] * (SATURATION + 1) / damping
        if score > 0:
            scored.append((score, name, text))
    scored.sort(key=lambda item: (-item[0], item[1]))
    return [{"text": text, "source": f"python:{name}", "score": score} for score, name, text in scored[:FOUND]]


def documented() -> Iterator[tuple[str, str]]:
    """Every public function and class that has a docstring: its full name, and that with the text."""
    for module in map(import_module, MODULES):
        for name, member in inspect.getmembers(
            module, lambda found: inspect.isroutine(found) or inspect.isclass(found)
        ):
            text = inspect.getdoc(member)
            if not name.startswith("_") and text:
                full_name = f"{module.__name__}.{name}"
                yield full_name, f"{full_name}: {text[:600]}"


def words(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return re.findall(r"[a-z0-9]+", text.lower())


@cache
def _index() -> tuple[list[tuple[str, str, Counter[str]]], Counter[str], float]:
    """What is documented with the count of each word, how many texts hold each word, and their mean length."""
    entries = [(name, text, Counter(words(text))) for name, text in documented()]
    frequency = Counter(word for _, _, counts in entries for word in counts)
    return entries, frequency, sum(sum(counts.values()) for _, _, counts in entries) / len(entries)
