"""The passes in the order in which they run.

None of them makes independent calls run side by side: they do so anyway, since nothing but the data
orders them.
"""

from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.passes import (
    batch_each,
    common_subexpressions,
    dead_code,
    expand_retrieval,
    hoist_invariants,
    order_prompts,
    speculate,
)
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.takes import Takes
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.kinds.registry import kinds as all_kinds

PASSES: tuple[Pass, ...] = (
    expand_retrieval.PASS,
    hoist_invariants.PASS,
    batch_each.PASS,
    common_subexpressions.PASS,
    dead_code.PASS,
    order_prompts.PASS,
    speculate.PASS,
)


#: A flow that a turn of all passes still changes after so many is taken as it is.
MOST_TURNS = 8


def selected(without: Collection[str] = (), *, last: str | None = None) -> tuple[Pass, ...]:
    """PASSES less those left out and those that then miss a gift, up to and including `last`.

    Raises ValueError for a name that no pass has.
    """
    names = [each.name for each in PASSES]
    if unknown := ({*without} | ({last} if last else set())) - {*names}:
        raise ValueError(f"no pass is called {', '.join(sorted(unknown))}")
    end = len(PASSES) if last is None else names.index(last) + 1
    given: set[str] = set()
    chosen: list[Pass] = []
    for each in PASSES[:end]:
        if each.name not in without and each.needs <= given:
            chosen.append(each)
            given |= each.gives
    return tuple(chosen)


def apply(passes: Sequence[Pass], flow: Flow, context: Context) -> Flow:
    """The flow after these passes, in their order, and again until none finds anything more to do.

    What one pass does may give an earlier one work: calls that have become one may stand outside of a loop.
    """
    for _ in range(MOST_TURNS):
        before = flow
        for each in passes:
            flow = each.rewrite(flow, context)
        if flow == before:
            break
    return flow


def optimise(
    application: Application,
    without: Collection[str] = (),
    *,
    last: str | None = None,
    kinds: Mapping[str, Kind] | None = None,
    takes: Takes | None = None,
    hurried: Collection[str] | None = None,
) -> Application:
    """Every flow of the application after the passes.

    A pass that needs what a left-out one gives is left out with it. `last` names the pass to stop
    after. `takes` lets branches begin early what saves more than it wastes, of all pipelines or of those that are
    `hurried`. Raises ValueError for a name that no pass has.
    """
    passes = selected(without, last=last)
    context = Context(application, all_kinds() if kinds is None else kinds)

    def optimised(flow: Flow) -> Flow:
        is_hurried = hurried is None or flow.name in hurried
        return apply(passes, flow, replace(context, takes=takes) if is_hurried else context)

    return replace(application, flows=tuple(map(optimised, application.flows)))
