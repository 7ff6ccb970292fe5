"""How often the labels of a value come by what is said of some: each of the others as often as each other one of them.

What is said of labels may be of those requests that are left when others have returned, of which nobody speaks. How
often these come is what is left in the end, whichever is asked for first.
"""

from collections.abc import Container, Iterable, Sequence

from harmonia_compiler.flow.labels import LabelSet, SaidOfLabels

#: Shares are reckoned with rounding.
_CLOSE = 1e-9

#: Where shares of all labels that are left come to 1, but for rounding, they say nothing of how many those are.
_LEAST = 0.1


def shares_of_all(labels: Sequence[str], said: Iterable[SaidOfLabels]) -> dict[str, float]:
    """How often each label comes of which something is said, over all, by what is said of most labels.

    Of what is said of as many the first counts. Each said share is of all but some labels: a number and so many times
    what one comes to of which nothing is said. What is said of several is divided evenly among those of which nothing
    is said alone. Together they come to 1; where that leaves open what one comes to of which nothing is said, each is
    one of so many. Nothing where the shares of labels rest on each other.
    """
    first: dict[LabelSet, SaidOfLabels] = {}
    for one in sorted(said, key=lambda one: len(one.left), reverse=True):
        first.setdefault(one.labels, one)
    # What is said of a label alone goes before what is said of it and others.
    pending = sorted(first.values(), key=lambda one: len(one.labels))
    every, spoken = frozenset(labels), frozenset[str]().union(*first)
    silent = every - spoken
    # Of each label the number, and how many times.
    found = dict.fromkeys(silent, (0.0, 1.0))

    def sum_of(some: Container[str]) -> tuple[float, float]:
        number, times = (sum(found[each][part] for each in labels if each in some) for part in range(2))
        return number, times

    while pending:
        ready = [each for each in pending if found.keys() >= every - each.left]
        if not ready:
            return {}
        one = ready[0]
        pending.remove(one)
        if new := one.labels - found.keys():
            number, times = sum_of(every - one.left)
            known, known_times = sum_of(one.labels & found.keys())
            number, times = one.share * (1.0 - number) - known, -one.share * times - known_times
            found |= dict.fromkeys(new, (number / len(new), times / len(new)))
    number, times = sum_of(labels)
    is_open = bool(silent) and times < _LEAST * len(silent)
    each = 1.0 / len(labels) if is_open or not silent else (1.0 - number) / times
    shares = {label: found[label][0] + found[label][1] * each for label in found}
    if is_open and (all_ := sum(shares[label] for label in labels if label in spoken)) > 0.0:
        # What is written is rounded.
        shares |= {label: shares[label] * (1.0 - len(silent) * each) / all_ for label in spoken}
    if not all(-_CLOSE <= share <= 1.0 + _CLOSE for share in shares.values()):
        return {}
    return {label: min(1.0, max(0.0, shares[label])) for label in labels if label in spoken}
