"""Which replicas may come on top of a plan's while its service runs, whatever starts them."""

from typing import Annotated

from msgspec import Meta

from harmonia_compiler.contract.plan import Plan

#: How many more of each engine a site profile may allow.
MOST_SCALE_OUT = 64
ScaleOut = Annotated[int, Meta(ge=0, le=MOST_SCALE_OUT)]


def further_names(plan: Plan, engine: str, at_most: int) -> tuple[str, ...]:
    """Names that no replica of the plan has for so many more of an engine, as far as its own settings allow them."""
    most = plan.engines[engine].settings.get("max_replicas")
    planned = sum(one.engine == engine for one in plan.replicas)
    count = at_most if most is None else max(0, min(at_most, int(most) - planned))
    taken = {one.id for one in plan.replicas}
    names = (f"{engine[:40]}-more-{at}" for at in range(len(taken) + count))
    return tuple(name for name in names if name not in taken)[:count]
