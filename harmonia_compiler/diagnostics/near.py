"""Which known name an unknown one was probably meant to be."""

from collections.abc import Collection, Iterable
from itertools import islice

#: Comparing with names of more letters than this in all costs more time than a suggestion is worth; beginning with a
#: name takes as long as some letters.
_MOST_LETTERS, _EACH = 40_000, 10
#: What is longer is no name.
_LONGEST = 100
#: Fewer letters begin too many names.
_SHORTEST_BEGINNING = 3


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name with the fewest slips of the finger between, if they are few for its length.

    One of which the name is the first word, as `a100` is of `a100_sxm`, goes before these; where there are none, the
    shortest that begins with the name comes last. Capitals make no difference.
    """
    meant = name.lower()
    others = {other for other in known if len(other) <= _LONGEST} - {name}
    longer = sorted((other for other in others if other.lower().startswith(meant)), key=lambda one: (len(one), one))
    begun = next((other for other in longer if not other[len(name) : len(name) + 1].isalnum()), None)
    if begun is not None and len(name) >= _SHORTEST_BEGINNING:
        return begun
    # Where every letter is a slip, as between `x` and `y`, nothing of what was written was meant.
    allowed = max(1, len(name) // 3)
    best: str | None = None
    near = [other for other in others if abs(len(other) - len(name)) <= allowed]
    left = _MOST_LETTERS
    for candidate in sorted(near) if len(name) <= _LONGEST else ():
        left -= len(candidate) + _EACH
        if left < 0:
            break
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
    return ", ".join(f"`{_cut(name)}`" for name in islice(every, most)) + more


def _cut(name: str) -> str:
    """A name as far as it may be one: what others list may be of any length."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"


def _slips(one: str, other: str, most: int) -> int:
    """Letters inserted, left out, changed, or swapped with a neighbour; more than `most` are not counted out.

    A column of the matrix of all beginnings is a number with a bit for each letter of `one` (Hyyrö 2003): `more` and
    `less` are where it goes up and down from one row to the next, `same` where a diagonal stays as it is.
    """
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
    places: dict[str, int] = {}
    for at, letter in enumerate(one):
        places[letter] = places.get(letter, 0) | 1 << at
    slips, last = len(one), 1 << len(one) - 1
    every = 2 * last - 1
    more, less, same, before = every, 0, 0, 0
    for left, letter in zip(range(len(other) - 1, -1, -1), other, strict=True):
        here = places.get(letter, 0)
        swapped = ((~same & here) << 1) & before
        same = (((here & more) + more) ^ more) | here | less | swapped
        up, down = less | (every & ~(same | more)), same & more
        slips += (up & last > 0) - (down & last > 0)
        # Each letter that is left makes it one less at best.
        if slips - left > most:
            return most + 1
        up, down = up << 1 | 1, down << 1
        more, less, before = down | (every & ~(same | up)), up & same, here
    return slips
