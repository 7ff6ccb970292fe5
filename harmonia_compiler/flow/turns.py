"""An order in which each comes behind what it rests on."""

from collections.abc import Callable, Iterable, Iterator


def in_turn(numbers: Iterable[int], rests_on: Callable[[int], Iterable[int]]) -> Iterator[int]:
    """The numbers, from 0 on, in their order, but each behind those that it rests on, which go in the order given.

    Where some rest on each other, the first one goes last.
    """
    seen: set[int] = set()
    for last in numbers:
        agenda = [last]
        while agenda:
            number = agenda.pop()
            if number < 0:
                yield ~number
            elif number not in seen:
                seen.add(number)
                agenda += [~number, *reversed([*rests_on(number)])]
