"""Shares by which all holds together that is said, where taking one statement after the other has missed some.

Of a value that is drawn once for a request the outcomes themselves get other shares. One that is drawn in each round of
a loop or for each item has the same ones each time: what the table says of it is found anew.
"""

from collections.abc import Mapping, Sequence

from harmonia_compiler.flow.asked import Test
from harmonia_compiler.flow.balance import balance
from harmonia_compiler.flow.functions import Functions
from harmonia_compiler.flow.outcomes import Mark, TooManyError
from harmonia_compiler.flow.questions import Place, Questions, place_of
from harmonia_compiler.flow.reached import questions_of
from harmonia_compiler.flow.said import Statement
from harmonia_compiler.flow.shares import Part, Row
from harmonia_compiler.flow.taken import Taken, TooLargeError


class Together:
    """What is taken, to be found together. `mark` is where outcomes were before."""

    def __init__(self, taken: Taken, functions: Functions, questions: Questions, mark: Mark) -> None:
        self._taken = taken
        self._functions = functions
        self._questions = questions
        self._mark = mark
        # How often tests of values hold that are drawn again and again, where that was found of all that is said.
        self._found: Mapping[Row, Mapping[Test, float]] = {}

    def find(self) -> bool:
        """Give values shares by which all holds that is told, if they can; else it stays as it was taken.

        Gives whether outcomes have other shares than the table.
        """
        if not self._taken.are_few:
            return False
        if missed := self.missed():
            self._find_rows(missed)
        return bool(missed and self.missed()) and self._find_outcomes()

    def missed(self) -> list[Statement]:
        """What is told and not so; nothing where that cannot be seen."""
        before = self._functions.outcomes.count
        try:
            found = self._taken.missed()
        except TooManyError:
            self._anew(self._functions.apart)
            return []
        # To see whether all holds may have asked more than the flow does, in another order.
        if self._functions.outcomes.count > before:
            self._anew(self._functions.apart)
        return found

    def _find_rows(self, missed: Sequence[Statement]) -> None:
        """Of values that are drawn more than once, in rounds or for items, find what the table is to say of them all.

        What is said of the first of their places is solved together; in the others it holds by the same shares, or no
        more of it does than before.
        """
        worked = self._functions.apart
        first = self._first_places(self._related(missed) & self._said_rows())
        if not first:
            return
        apart = frozenset(
            place for place in worked if not any(part.row in first for part in self._questions.parts_of(place))
        )
        try:
            self._anew(apart)
            self._found = self._solved(first)
            if self._found:
                self._anew(apart)
            is_better = bool(self._found) and len(self._taken.missed()) < len(missed)
        except (TooManyError, TooLargeError):
            is_better = False
        if not is_better:
            self._found = {}
        self._anew(apart if is_better else worked)

    def _anew(self, apart: frozenset[Place]) -> None:
        self._taken.anew(self._mark, apart, self._found)

    def _related(self, missed: Sequence[Statement]) -> set[Row]:
        """What the table has of all values on which it rests whether some statements hold, by way of others too."""
        found: set[Row] = set()
        of_each = [self._rows(one) for one in self._taken.told]
        more = {row for one in missed for row in self._rows(one)}
        while more:
            found |= more
            more = {row for rows in of_each if not rows.isdisjoint(found) for row in rows} - found
        return found

    def _said_rows(self) -> set[Row]:
        """What the table has of values of which something is told. Others stay as they are: else none might come by."""
        return {
            row for one in self._taken.told for asked in self._taken.about(one) for row in self._questions.rows(asked)
        }

    def _rows(self, one: Statement) -> set[Row]:
        """What the table has of the values that a statement and the requests that it is of rest on."""
        return {row for asked in (one.asked, *questions_of(one.reached)) for row in self._questions.rows(asked)}

    def _first_places(self, rows: set[Row]) -> dict[Row, Place]:
        """Of each row, if any is drawn more than once, the first place; each value is to be of one row alone."""
        found: dict[Row, list[Place]] = {}
        for place in sorted(self._functions.asked):
            for part in self._questions.parts_of(place):
                found.setdefault(part.row, []).append(place)
        first = {
            row: places[0]
            for row, places in found.items()
            if row in rows and all(self._questions.parts_of(place) == [Part(row)] for place in places)
        }
        return first if any(map(self._is_repeated, first.values())) else {}

    def _is_repeated(self, place: Place) -> bool:
        """Whether a request has more than one value of a place: for items, or in rounds that need not be asked yet."""
        return bool(self._functions.varying[place.position]) or self._questions.is_in_rounds(place)

    def _solved(self, first: Mapping[Row, Place]) -> Mapping[Row, Mapping[Test, float]]:
        """How often tests of those rows hold, so that all holds that is said at their first places; nothing if none."""
        equations = [self._taken.equation(one) for one in self._taken.told]
        row_of = {place: row for row, place in first.items()}
        free, later = set[int](), set[int]()
        for level, place in self._functions.places.items():
            if place in row_of:
                free.add(level)
            elif any(part.row in first for part in self._questions.parts_of(place)):
                later.add(level)
        slopes = self._functions.outcomes.slopes
        of_first = [each for each in equations if later.isdisjoint({*slopes(each.held), *slopes(each.reached)})]
        if not balance(self._functions.outcomes, of_first, free):
            return {}
        return {
            row: {test: self._functions.outcomes.probability(holds) for test, holds in self._functions.values[place]}
            for place, row in row_of.items()
            if place in self._functions.values
        }

    def _find_outcomes(self) -> bool:
        """Give outcomes of values alone that are drawn once for a request shares by which all holds that is told.

        By other shares others would be drawn in one round of a loop and not in the next, or for one item.
        """
        try:
            equations = [(one, self._taken.equation(one)) for one in self._taken.told]
            alone = self._alone()
            rows = self._said_rows()
            said = {place for place in alone if any(part.row in rows for part in self._questions.parts_of(place))}
            free = {level for level, place in self._functions.places.items() if place in said}
            of_these = [each for one, each in equations if one.is_made or place_of(one.asked) in alone]
            if balance(self._functions.outcomes, of_these, free):
                return True
        except TooManyError:
            pass
        # To see what is missed may have asked more than the flow does, in another order.
        self._anew(self._functions.apart)
        return False

    def _alone(self) -> set[Place]:
        """The values that were asked about and are drawn once for a request, each by itself."""
        places: dict[Row, set[Place]] = {}
        for place in self._functions.asked:
            for part in self._questions.parts_of(place):
                places.setdefault(part.row, set()).add(place)
        return {
            place
            for place in self._functions.asked
            if not self._is_repeated(place)
            and [places[part.row] for part in self._questions.parts_of(place)] == [{place}]
        }
