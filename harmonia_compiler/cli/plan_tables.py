"""A plan as people read it: what runs where, what to expect of it, what that rests on, and what to know besides."""

from rich.box import SIMPLE
from rich.table import Table

from harmonia_compiler.cli.untrue import estimated, missed_share
from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.contract.plan import Plan, Predicted, Replica
from harmonia_compiler.diagnostics.numbers import about
from harmonia_compiler.plan.figures import MOST_DIGITS, down, plain, up
from harmonia_compiler.plan.optimise import CARRIED
from harmonia_compiler.profile.sources import CPU_ROOFLINE, ROOFLINE


def carries(load_rps: float, carried_rps: float) -> str:
    """What is carried, in few digits and rounded down; of a load that is held, to no less than is said of the load."""
    held = up(load_rps, MOST_DIGITS) if carried_rps >= load_rps * (1 - CARRIED) else 0.0
    return plain(max(down(carried_rps), held))


def tables_of(plan: Plan) -> list[Table]:
    """All of them, in the order in which they are read."""
    return [_placement(plan), _expectation(plan), _engines(plan), _memory(plan)]


def _placement(plan: Plan) -> Table:
    """Every replica, by host and device."""
    table = Table("host", "device", "replica", "serves", "cores", "memory", title="What runs where", box=SIMPLE)
    last = ""
    for replica in sorted(plan.replicas, key=lambda replica: (replica.host, _devices(replica), replica.id)):
        if last and replica.host != last:
            table.add_section()
        host = "" if replica.host == last else replica.host
        last = replica.host
        memory = f"{replica.memory_gib:g} GiB"
        table.add_row(host, _devices(replica), replica.id, ", ".join(replica.serves), f"{replica.cores:g}", memory)
    return table


def _devices(replica: Replica) -> str:
    if not replica.devices:
        return "cpu"
    part = f" ({replica.config.gpus:g} of it)" if replica.config.gpus < 1 else ""
    return f"{replica.config.gpu} {','.join(map(str, replica.devices))}{part}"


def _expectation(plan: Plan) -> Table:
    """What each pipeline carries, how fast and at which price."""
    columns = ("pipeline", "load", "carries", "latency p95", "first token p95", "cost per hour", "bottleneck")
    table = Table(*columns, title="What to expect", box=SIMPLE)
    for share in plan.pipelines:
        expected = plan.predicted[share.name]
        table.add_row(
            share.name,
            f"{plain(up(share.load_rps, MOST_DIGITS))} rps",
            f"{carries(share.load_rps, expected.throughput_rps)} rps",
            shown_ms(expected.latency_ms),
            shown_ms(expected.ttft_ms),
            _cost(expected),
            expected.bottleneck,
        )
    return table


def _cost(expected: Predicted) -> str:
    """What hosts cost an hour, and a thousand requests at the average load."""
    if not expected.cost_per_hour:
        return "-"
    each = f" ({about(expected.cost_per_thousand)} per 1,000)" if expected.cost_per_thousand else ""
    return f"{expected.cost_per_hour:g}{each}"


def _engines(plan: Plan) -> Table:
    """Each configuration in use, with the source of its figures."""
    columns = ("engine", "configuration", "replicas", "calls/s each", "latency", "busy", "figures from")
    table = Table(*columns, title="Engines at those rates", box=SIMPLE)
    for use in plan.profiles:
        count = sum(one.engine == use.engine and one.config.describe() == use.config for one in plan.replicas)
        busy = f"{plan.utilisation[use.engine]:.0%}"
        figures = (about(use.capacity_rps), shown_ms(use.latency_ms), busy, use.provenance)
        table.add_row(use.engine, use.config, str(count), *figures)
    return table


def _memory(plan: Plan) -> Table:
    """Of the replicas of models: what the weights and the KV cache take, over all devices of a replica."""
    columns = ("engine", "configuration", "weights", "KV cache", "holds", "activations, engine")
    table = Table(*columns, title="Memory of each replica", box=SIMPLE)
    for one in plan.memory:
        cache = (f"{about(one.cache_gib)} GiB", f"{one.cache_tokens:,.0f} tokens") if one.cache_gib else ("-", "-")
        table.add_row(one.engine, one.config, f"{about(one.weights_gib)} GiB", *cache, f"{about(one.rest_gib)} GiB")
    return table


def uncarried(plan: Plan) -> list[str]:
    """Which pipelines ask for more than the plan carries, a sentence each."""
    said = []
    for share in plan.pipelines:
        carried = plan.predicted[share.name].throughput_rps
        if carried < share.load_rps * (1 - CARRIED):
            asked, carries = plain(up(share.load_rps, MOST_DIGITS)), plain(down(carried))
            most = "; no plan on this inventory carries it all" if plan.solver.status == "optimal" else ""
            said.append(f"{share.name} asks for {asked} rps, and this plan carries {carries}{most}.")
    return said


def remarks(plan: Plan) -> list[str]:
    """What whoever reads the plan should know of it, a sentence each."""
    said = []
    if assumed := sorted({use.engine for use in plan.profiles if use.provenance in (ROOFLINE, CPU_ROOFLINE)}):
        writes = {name for name in assumed if plan.engines[name].kind == "llm"}
        measure = " `harmoniac profile` measures language models." if writes else ""
        said.append(f"Figures by data sheet or for a modest core, which may be far off: {', '.join(assumed)}.{measure}")
    corrected = {(use.engine, about(use.corrected)) for use in plan.profiles}
    for engine, factor in sorted(one for one in corrected if one[1] != "1"):
        said.append(f"Calls of {engine} take {factor} times as long as the source of their figures says.")
    said += uncarried(plan)
    if plan.guessed:
        guessed = ", ".join(plan.guessed)
        said.append(
            f"Sizes are guessed for: {guessed}. Say them, as in `q: text ~ 15 tokens` or `-> text ~ 60 tokens`."
        )
    for component, often in plan.late.items():
        late = plain(up(often * 100.0, 2))
        said.append(f"{late} % of what {component} is called for takes longer than its `within`, and is given up.")
    for component, text in plan.cut.items():
        tokens, most = plain(up(text.tokens, 3)), plain(text.window)
        said.append(
            f"{component} is given texts of {tokens} tokens, and its model reads the first {most}. Give it shorter "
            "ones, or choose a model of longer context."
        )
    if plan.estimated:
        said.append(estimated(plan.estimated))
    for one in plan.missed:
        step = "Where values go together, test one inside of the other's branches."
        said.append(f"{missed_share(one.source, one.line, one.said, one.found)} {step}")
    if plan.solver.status != "optimal":
        within = plain(up(plan.solver.gap * 100.0))
        said.append(f"The search ended at its node limit; the plan is within {within} % of the best.")
    return said
