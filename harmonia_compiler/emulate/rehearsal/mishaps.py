"""What shall go wrong in a rehearsal, as people write it: `answer slow 3x at 30s for 10s`.

Whoever writes it names a component, an engine or a replica; what is injected names replicas.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from harmonia_compiler.contract.duration import duration_ms, shown_ms
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.faults import WAYS, Fault
from harmonia_compiler.kinds.registry import kinds

_WRITTEN = re.compile(
    r"\s*(?P<name>[\w-]+)\s+(?P<way>[a-z]+)(?:\s+(?P<amount>[0-9]+(?:\.[0-9]+)?\s*[x%]))?"
    r"(?:\s+at\s+(?P<at>\S.*?))?(?:\s+for\s+(?P<lasts>\S.*?))?\s*"
)
_NAME = re.compile(r"[\w-]+")
_MOST_TIMES = 10_000.0


def parse_fault(written: str) -> Fault:
    """A fault of whatever it names. Raises ValueError with a sentence for people."""
    found = _WRITTEN.fullmatch(written)
    if found is None:
        raise ValueError(f"{written!r} is no fault; write it like 'answer slow 3x at 30s for 10s'")
    way = next((one for one in WAYS if one == found["way"]), None)
    if way is None:
        raise ValueError(suggestion(found["way"], WAYS, f"a replica can be made {', '.join(WAYS)}, not {found['way']}"))
    from_s = 0.0 if found["at"] is None else duration_ms(found["at"], zero=True) / 1000.0
    lasts_s = None if found["lasts"] is None else duration_ms(found["lasts"]) / 1000.0
    fault = Fault(found["name"], way, from_s, None if lasts_s is None else from_s + lasts_s)
    if found["amount"] is None:
        return fault
    amount, unit = float(found["amount"][:-1]), found["amount"][-1]
    if (way, unit) == ("slow", "x") and 1.0 < amount <= _MOST_TIMES:
        return msgspec.structs.replace(fault, factor=amount)
    if (way, unit) == ("fail", "%") and 0.0 < amount <= 100.0:
        return msgspec.structs.replace(fault, share=amount / 100.0)
    takes = {
        "slow": f"takes times as in `3x`, above 1 and at most {_MOST_TIMES:g}",
        "fail": "takes a share as in `20%`, above 0 and at most 100",
    }
    raise ValueError(f"`{way}` {takes.get(way, 'takes no amount')}, not `{found['amount']}`")


def parse_delay(written: str) -> tuple[str, float]:
    """`20s`, of all engines, or `answer=20s`: a name, empty where there is none, and seconds. Raises ValueError."""
    name, sign, lasts = written.rpartition("=")
    if sign and _NAME.fullmatch(name) is None:
        raise ValueError(f"{written!r} has no name before `=`; write it like 20s or answer=20s")
    return name, duration_ms(lasts) / 1000.0


def injected(scenario: Scenario, faults: Iterable[Fault], end_ms: float) -> tuple[Fault, ...]:
    """The faults of single replicas, by their times. Raises Rejected with all that meet nothing until the end."""
    found: list[Diagnostic] = []
    single: list[Fault] = []
    for fault in faults:
        replicas = [*_replicas(scenario, fault.replica)]
        single += [msgspec.structs.replace(fault, replica=replica) for replica in replicas]
        if not replicas:
            found.append(_unknown(scenario, fault.replica, "fault", *_replicas_by_id(scenario)))
        if fault.from_s * 1000.0 >= end_ms:
            begins, ends = shown_ms(fault.from_s * 1000.0), shown_ms(end_ms)
            message = f"the fault of `{fault.replica}` begins after {begins}, and requests come for {ends}"
            found.append(Diagnostic("E1342", message, help="let it begin earlier, or requests come --for longer"))
    if found:
        raise Rejected(found)
    return tuple(sorted(single, key=lambda fault: fault.from_s))


def loading(scenario: Scenario, delays: Mapping[str, float]) -> dict[str, float]:
    """How long replicas of each engine load, in seconds, of delays by name of an engine or component, or "" for all.

    Raises Rejected with all names that no engine has.
    """
    engines = dict.fromkeys(scenario.plan.engines, delays.get("", 0.0))
    found = []
    for name, delay_s in delays.items():
        engine = name if name in engines else _engine(scenario, name)
        if engine in engines:
            engines[engine] = delay_s
        elif name:
            found.append(_unknown(scenario, name, "start delay"))
    if found:
        raise Rejected(found)
    return {engine: delay_s for engine, delay_s in engines.items() if delay_s > 0.0}


def _replicas(scenario: Scenario, name: str) -> Iterator[str]:
    """Of a replica itself, else all of the engine of that name, else all of the component's engine."""
    ids = _replicas_by_id(scenario)
    if name in ids:
        yield name
        return
    engine = name if name in scenario.service.engines else _engine(scenario, name)
    yield from (replica for replica, of in ids.items() if of == engine)


def _replicas_by_id(scenario: Scenario) -> dict[str, str]:
    """The engine of each replica. A service of somebody else's is one, and named after its engine."""
    inside = {replica.id: replica.engine for replica in scenario.plan.replicas}
    outside = {name: name for name, engine in scenario.service.engines.items() if kinds()[engine.kind].external}
    return {**outside, **inside}


def _engine(scenario: Scenario, component: str) -> str | None:
    programs = scenario.service.programs.values()
    return next((each.components[component].engine for each in programs if component in each.components), None)


def _unknown(scenario: Scenario, name: str, what: str, *more: str) -> Diagnostic:
    known = {component for each in scenario.service.programs.values() for component in each.components}
    known |= {*scenario.plan.engines, *more}
    help_ = suggestion(name, known, f"name one of {listed(sorted(known), most=20)}")
    return Diagnostic(
        "E1342", f"the {what} of `{name}` meets nothing: the plan has no such replica or component", help=help_
    )
