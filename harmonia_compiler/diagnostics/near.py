"""Which known name an unknown one was probably meant to be."""

from collections.abc import Collection, Iterable
from itertools import islice

#: Comparing with more names than this costs more time than a suggestion is worth.
_MOST_COMPARED = 2000
#: Fewer letters begin too many names.
_SHORTEST_BEGINNING = 3


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name with the fewest slips of the finger between, if they are few for its length.

    One of which the name is the first word, as `a100` is of `a100_sxm`, goes before these; where there are none, the
    shortest that begins with the name comes last. Capitals make no difference.
    """
    meant = name.lower()
    others = set(known) - {name}
    longer = sorted((other for other in others if other.lower().startswith(meant)), key=lambda one: (len(one), one))
    begun = next((other for other in longer if not other[len(name) : len(name) + 1].isalnum()), None)
    if begun is not None and len(name) >= _SHORTEST_BEGINNING:
        return begun
    # Where every letter is a slip, as between `x` and `y`, nothing of what was written was meant.
    allowed = max(1, len(name) // 3)
    best: str | None = None
    near = [other for other in others if abs(len(other) - len(name)) <= allowed]
    for candidate in sorted(near)[:_MOST_COMPARED]:
        slips = _slips(meant, candidate.lower(), allowed)
        if slips <= allowed and slips < max(len(name), len(candidate)):
            # From here on, fewer slips alone are nearer.
            best, allowed = candidate, slips - 1
            if allowed < 0:
                break
    if best is not None or len(name) < _SHORTEST_BEGINNING:
        return best
    return longer[0] if longer else None


def suggestion(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A help line that offers the nearest name, or says something else."""
    near = nearest(name, known)
    return f"did you mean `{near}`?" if near else otherwise


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names for a sentence: `a`, `b`, `c`, and how many more."""
    every = names if isinstance(names, Collection) else [*names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(f"`{name}`" for name in islice(every, most)) + more


def _slips(one: str, other: str, most: int) -> int:
    """Letters inserted, left out, changed, or swapped with a neighbour; more than `most` are not counted out."""
    start, ends = 0, min(len(one), len(other))
    while start < ends and one[start] == other[start]:
        start += 1
    end = 0
    while end < ends - start and one[-1 - end] == other[-1 - end]:
        end += 1
    # What both begin and end with is no slip.
    one, other = one[start : len(one) - end], other[start : len(other) - end]
    if not one or not other:
        return len(one) or len(other)
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        previous, before, row = before, row, [i] + [0] * len(other)
        for j, wanted in enumerate(other, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                row[j] = min(row[j], previous[j - 2] + 1)
        # What follows builds on these two rows, on the earlier one by a swap alone.
        if min(row) > most <= min(before):
            return most + 1
    return row[-1]
