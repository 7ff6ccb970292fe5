"""Loops: `repeat up to N { … } until TEST` as a block that is run round after round.

A name that the block binds anew is handed from round to round; its type is the join of what it is before the
loop and after each round, so that the block is read again until that no longer changes. What a loop gives to
what follows, the values of names and an answer from inside of it, are outputs of its last round. What the tests in
the block have said where it ends is known after the loop, since there was a round; that it goes on says that the
test behind `until` did not hold.

Where the block binds such a name to what cannot be read, nobody knows what it is in later rounds. Then the block is
read again as if it could not be read at their beginning either, so that nothing is said that rests on what it is in
the first round alone.
"""

from collections import Counter
from itertools import count

from msgspec.structs import replace

from harmonia_compiler.check.answers import Choice, Taken, answered, chance, first_answer, settle
from harmonia_compiler.check.branches import share_of
from harmonia_compiler.check.foregone import warn_of_foregone
from harmonia_compiler.check.narrowing import is_impossible, narrow
from harmonia_compiler.check.rounds import Before, Carried, Grown, Reader, Round, limit_of, most_growth, widened
from harmonia_compiler.check.sameness import report_rounds
from harmonia_compiler.check.scope import Binding, Scope, Value, Variable
from harmonia_compiler.check.streaming import report_unstreamed
from harmonia_compiler.check.types import shown_apart
from harmonia_compiler.check.unreached import report_never
from harmonia_compiler.contract.program import Argument, Output, Repeat, Select
from harmonia_compiler.contract.types import Bool, Type, join
from harmonia_compiler.diagnostics.diagnostic import Note
from harmonia_compiler.flow.graph import EVEN, Written
from harmonia_compiler.syntax import tree

#: Each time that a block is read again, some type has grown, of each name once or twice and part by part as its parts
#: can, or some name is known to be what cannot be read.
_MOST_READINGS = 12
#: So many readings before the last one, a name whose labels still grow is taken to be any that the block binds it to,
#: also on paths that return or where it is bound anew: as long as possible it is what it may be and no more.
_LAST_READINGS = 4


#: What is found because a name has too few labels or a list no items, which it may have in later rounds.
_BY_TOO_LITTLE = frozenset({"E0308", "E0328", "E0402", "E0403"})


def read_loop(reader: Reader, statement: tree.Repeat, scope: Scope) -> tuple[Choice | int | None, bool]:
    """Lower a loop, bind what names are after it, and give what it answers and whether some path goes on."""
    return _Loop(reader, statement, scope).read()


class _Loop:
    """The reading of one loop."""

    def __init__(self, reader: Reader, statement: tree.Repeat, scope: Scope) -> None:
        self.reader = reader
        self.findings = reader.findings
        self.statement = statement
        self.scope = scope
        self.outside = reader.values.nodes
        self.limit = limit_of(statement.limit, reader)
        self.grown = reader.grown.setdefault(id(statement), Grown())
        self.carried = self._carried()
        self.share = 0.0 if statement.until is None else EVEN
        if statement.share is not None:
            said = share_of(statement.share, self.findings)
            self.share = EVEN if said is None else said
        self.begun = self.findings.mark()

    def read(self) -> tuple[Choice | int | None, bool]:
        most, is_widened = 0, False
        for reading in count():
            # Beyond as many, the block is read again only for names of which it becomes known that they cannot be read.
            most = max(most, _MOST_READINGS + 3 * len(self.carried) + most_growth(self.statement, self.carried))
            if reading >= most - _LAST_READINGS and not is_widened:
                self._widen()
                is_widened = True
            before = self._here()
            found = self._round()
            if reading >= most or not self._grows(found):
                self._report_growth(found)
                if not self._forgets(found, before):
                    break
            self._back(before)
        self._say_again()
        if self.outside.parent is None:
            report_unstreamed(self.reader.values, self.reader.streamed)
        report_rounds(self.reader, self.statement, found, has_effect=self.grown.has_effect, since=self.begun)
        return self._after(found)

    def _carried(self) -> list[Carried]:
        """The outer names that the block binds anew, in the order in which it does."""
        nodes = (node for part in self.statement.body for node, _ in tree.walk(part))
        bound = (node.name.text for node in nodes if isinstance(node, tree.Bind))
        found = []
        for name in dict.fromkeys(bound):
            binding = self.scope.find(name)
            value = None if binding is None else binding.within(self.outside)
            if binding is not None and value is not None:
                of = join(value.type, self.grown.types.get(name, value.type)) or value.type
                found.append(Carried(name, binding, value.position, of))
        return found

    # --- reading the block -------------------------------------------------------------------------------------

    def _here(self) -> Before:
        reader = self.reader
        marks, variables, streamed = (self.outside.mark(), self.findings.mark()), reader.variables, reader.streamed
        values = reader.values
        brought = Counter(values.context.brought)
        return Before(*marks, len(variables), reader.whole, len(streamed), values.refused_test, brought)

    def _back(self, to: Before) -> None:
        """As if the block had not been read, but for the names that it has used."""
        self.outside.drop(to.mark)
        self.findings.forget(to.findings)
        del self.reader.variables[to.variables :]
        self.reader.whole = to.whole
        self.reader.values.refused_test = to.refused_test
        self.reader.values.context.brought = to.brought
        del self.reader.streamed[to.streamed :]

    def _round(self) -> Round:
        """Read the block with what is known of the types of carried names."""
        reader, values = self.reader, self.reader.values
        nodes = self.outside.block(len(self.carried) + self.grown.has_effect)
        entry = Scope(self.scope)
        arguments: dict[str, int] = {}
        read: dict[str, Variable] = {}
        for at, carried in enumerate(self.carried):
            position = nodes.add(Argument(at), carried.type, self.statement.span)
            arguments[carried.name] = position
            handed = read[carried.name] = Variable(carried.name, carried.binding.variables[-1].span)
            variables = (*carried.binding.variables, handed)
            unread = self.grown.unread.get(carried.name)
            if unread is not None:
                entry.bind(carried.name, Binding(variables, None, unread.why, unread.at))
            else:
                entry.bind(carried.name, Binding(variables, Value(position, carried.type), home=nodes))
        if self.grown.has_effect:
            nodes.effect = nodes.add(Argument(len(self.carried)), Bool(), self.statement.span)
        effect = nodes.effect
        inner = Scope(entry)
        nodes.among = self.statement.limit.span
        values.nodes = nodes
        try:
            answer, goes_on = reader.block(self.statement.body, inner)
            stop = None
            if self.statement.until is not None and goes_on:
                value = values.truth(self.statement.until, Scope(inner), self.share)
                stop = value.position if value is not None else None
                if is_impossible(narrow(self.statement.until, inner)[0]):
                    report_never(values, self.statement.until, scope=inner)
                elif value is not None:
                    always, never = "delete `repeat` and `until`: there is one round", "delete `until`"
                    warn_of_foregone(
                        self.statement.until, nodes.all, value.position, self.findings, always=always, never=never
                    )
                reader.whole = reader.whole and value is not None
        finally:
            values.nodes = self.outside
        self.grown.has_effect = self.grown.has_effect or nodes.effect != effect
        found = Round(nodes, inner, answer, goes_on, stop, arguments, read)
        self._hand_on(found)
        return found

    def _hand_on(self, found: Round) -> None:
        """Note what the round has left of each name that is handed on."""
        until = self.statement.until
        again = {} if until is None or not found.goes_on else dict(narrow(until, found.scope)[1])
        for at, carried in enumerate(self.carried):
            following = carried.following = found.left(carried.name)
            carried.handed = None if following is None else again.get(carried.name, following.type)
            later = [] if following is None else [(found.nodes, following.position)]
            found.nodes.carried[at] = [(self.outside, carried.start), *later]

    def _grows(self, found: Round) -> bool:
        """Whether the block has to be read again, since a name may have more types, or calls keep an order."""
        grown = found.nodes.effect is not None and self.grown.has_effect and found.nodes.given == len(self.carried)
        for carried in self.carried:
            joined = None if carried.handed is None else join(carried.type, carried.handed)
            if joined is not None and joined != carried.type:
                carried.type = self.grown.types[carried.name] = joined
                grown = True
        return grown

    def _widen(self) -> None:
        """Let each name that is a label be any that the block says it is, rather than find them one by one."""
        for carried in self.carried:
            carried.type = self.grown.types[carried.name] = widened(carried.type, self.statement, carried.name)

    def _report_growth(self, found: Round) -> None:
        """Report names that have one type in a round and another in the next."""
        for carried in self.carried:
            handed, is_unread = carried.handed, carried.name in self.grown.unread
            if handed is None or (join(carried.type, handed) == carried.type and not is_unread):
                continue
            if not is_unread:
                self._report_two_types(carried, handed, found)
            self.reader.whole = False
            # What it is after the loop is anybody's guess.
            found.scope.bind(carried.name, Binding(carried.binding.variables, None))
            carried.following = None

    def _report_two_types(self, carried: Carried, handed: Type, found: Round) -> None:
        variable = found.scope.own.get(carried.name)
        place = variable.span if variable is not None else self.statement.limit.span
        notes = tuple(Note(each.span, "bound here before the loop") for each in carried.binding.variables[:1])
        now, then = shown_apart(carried.type, handed, lambda one, other: join(one, other) == one)
        message = f"`{carried.name}` is {now} in one round and {then} in the next"
        help = "give it one type in every round, or give the second value a name of its own"
        self.findings.add("E0324", message, place, help=help, notes=notes)

    def _forgets(self, found: Round, before: Before) -> bool:
        """Whether the block has to be read again, since it binds names to what cannot be read; why, is kept."""
        bound = {carried.name: found.scope.bindings.get(carried.name) for carried in self.carried}
        unread = {name: binding for name, binding in bound.items() if binding is not None and binding.value is None}
        if unread.keys() <= self.grown.unread.keys():
            return False
        self.grown.unread = unread | self.grown.unread
        for item in self.findings.items[before.findings.kept :]:
            (self.reader.guesses if item.code in _BY_TOO_LITTLE else self.grown.said).append(item)
        self.reader.values.has_failed = True
        return True

    def _say_again(self) -> None:
        """Say what was found before it was known which names cannot be read; at one place, by what was known then."""
        said = {(item.code, item.span): item for item in reversed(self.grown.said)}
        items, kept = self.findings.items, self.begun.kept
        items[kept:] = [said.pop((item.code, item.span), item) for item in items[kept:]]
        self.findings.extend(reversed(said.values()))

    # --- what follows ------------------------------------------------------------------------------------------

    def _after(self, found: Round) -> tuple[Choice | int | None, bool]:
        """End the block, and bind and answer with what its last round gives."""
        nodes, span = found.nodes, self.statement.span
        results = [
            carried.following.position if carried.following else found.arguments[carried.name]
            for carried in self.carried
        ]
        if self.grown.has_effect:
            assert nodes.effect is not None
            results.append(nodes.effect)
        fresh = {
            name: value
            for name in found.scope.bindings
            if name not in found.arguments and (value := found.left(name)) is not None
        }
        results += [value.position for value in fresh.values()]
        said, written = self.statement.share, None
        if said is not None and said.value is not None:
            written = Written(said.span, self.share, nodes.among, around=self.outside.among, through=nodes.through)
        returns = 0.0
        stop = found.stop
        if stop is None:
            stop = nodes.constant(not found.goes_on, Bool(), span)
        if found.answer is not None and self.reader.result_type is not None and self.reader.whole:
            of = self.reader.result_type
            returns = chance(found.answer)
            results.append(settle(nodes, found.answer, first_answer(found.answer), of))
            if found.goes_on:
                returned = answered(nodes, found.answer, span)
                results.append(returned)
                yes = nodes.constant(value=True, of=Bool(), span=span)
                if written is not None:
                    # It is of those that have not returned, and not how often a round is the last one.
                    no = nodes.constant(value=False, of=Bool(), span=span)
                    of_test = replace(written, around=None)
                    stop = nodes.add(Select(stop, yes, no), Bool(), span, self.share, written=of_test)
                    written = None
                stop = nodes.select(returned, yes, stop, Bool(), returns, span)
        block, captured = nodes.close((stop, *results))
        starts = [carried.start for carried in self.carried]
        if self.grown.has_effect:
            assert self.outside.effect is not None
            starts.append(self.outside.effect)
        last = 1.0 - (1.0 - returns) * (1.0 - self.share)
        loop = Repeat(block, (*starts, *captured), len(starts), self.limit)
        position = self.outside.add(loop, Bool(), span, last, guessed=written is None, written=written)
        self._bind(found, fresh, position)
        if self.grown.has_effect:
            self.outside.effect = self._output(position, len(self.carried), Bool())
        if found.answer is None or self.reader.result_type is None or not self.reader.whole:
            return None, found.goes_on
        outputs = len(results) - (2 if found.goes_on else 1)
        answer = self._output(position, outputs, self.reader.result_type)
        if not found.goes_on:
            return answer, False
        returned = self._output(position, outputs + 1, Bool())
        rounds = (1.0 - (1.0 - last) ** self.limit) / last if last > 0 else float(self.limit)
        share = min(1.0, returns * rounds)
        return Choice((Taken(returned, share, answer),), None, span), True

    def _output(self, loop: int, index: int, of: Type) -> int:
        return self.outside.add(Output(loop, index), of, self.statement.span)

    def _bind(self, found: Round, fresh: dict[str, Value], loop: int) -> None:
        """Let each name be what the last round has bound; what cannot be used inside cannot be used after."""
        # What a name is that no round binds, the tests of the round that there was have told.
        inside = found.scope.narrowed
        self.scope.narrowed |= {name: of for name, of in inside.items() if name not in found.scope.bindings}
        names = [carried.name for carried in self.carried]
        first_fresh = len(names) + self.grown.has_effect
        for name, binding in found.scope.bindings.items():
            if binding.value is None:
                self.scope.bind(name, Binding(binding.variables, None, binding.why, binding.at))
                continue
            at = names.index(name) if name in names else first_fresh + [*fresh].index(name)
            left = self.carried[at].following if name in names else fresh[name]
            assert left is not None
            value = Value(self._output(loop, at, left.type), left.type)
            # Where a path through the block leaves the name as it was, these have those before the loop with them.
            self.scope.bind(name, Binding(binding.variables, value, home=self.outside))
