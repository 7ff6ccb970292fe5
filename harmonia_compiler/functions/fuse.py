"""`fuse(lists, top_k: 10)`: the best passages of several searches, by reciprocal rank fusion.

Cormack, Clarke and Büttcher 2009: a passage scores the sum, over the lists that it is in, of
1 / (60 + its rank there). The lists' own scores do not count, so that searches whose scores do not
compare can be fused.
"""

from collections.abc import Mapping, Sequence
from math import fsum

from harmonia_compiler.contract.types import ListOf, Passage, Type, Value, fits
from harmonia_compiler.functions.flatten import flat
from harmonia_compiler.functions.function import Function, Taken
from harmonia_compiler.kinds.extents import USUAL_ITEMS
from harmonia_compiler.kinds.kind import Extent

#: How little the first ranks stand out: the constant of the paper.
DAMPING = 60

_LISTS = Taken(
    "lists",
    "[[passage]]",
    "what several searches found",
    "put what several searches find into one list: `fuse([search(a), search(b)])`",
)
_TOP_K = Taken("top_k", "a whole number", "how many of the best passages are kept at most", constant=True, default=10)


def result_type(types: Sequence[Type]) -> Type | None:
    """A list of passages, for a list of such lists."""
    return ListOf(Passage()) if fits(types[0], ListOf(ListOf(Passage()))) else None


def evaluate(values: Sequence[Value], settings: Mapping[str, int]) -> Value:
    """The best passages, each with its fused score; the one that was seen first goes before its equals.

    Passages of one text and one source are one; in a list that has it twice, the better rank counts.
    """
    ranks: dict[tuple[str, str], dict[int, int]] = {}
    for number, passages in enumerate(values[0]):
        for rank, passage in enumerate(passages, start=1):
            ranks.setdefault((passage["text"], passage["source"]), {}).setdefault(number, rank)
    # The exact sum: passages with the same ranks in other lists must not differ by a rounding.
    scores = {key: fsum(1.0 / (DAMPING + rank) for rank in own.values()) for key, own in ranks.items()}
    best = sorted(scores, key=lambda key: -scores[key])[: _TOP_K.of(settings)]
    return [{"text": text, "source": source, "score": scores[text, source]} for text, source in best]


def extent(extents: Sequence[Extent], settings: Mapping[str, int]) -> Extent:
    """The kept passages' part of the tokens, as if no passage were found twice."""
    found = flat(extents[0], USUAL_ITEMS)
    kept = min(found.items, float(_TOP_K.of(settings)))
    return Extent(found.tokens * kept / found.items if found.items else 0.0, kept, found.guessed)


FUNCTION = Function(
    name="fuse",
    doc="The best passages of several lists, by reciprocal rank fusion; the score of each is its fused one.",
    parameters=(_LISTS, _TOP_K),
    result_type=result_type,
    evaluate=evaluate,
    extent=extent,
)
