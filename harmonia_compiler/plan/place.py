"""Counts of replicas per host → replicas on devices.

Devices of a host are numbered in the order of its inventory entry. Whole groups are placed first,
then fractions from large to small; since fractions are powers of two, this fills every device.
What runs already keeps its name and, where the others then find devices too, those that it has.
"""

from collections.abc import Sequence

from harmonia_compiler.contract.plan import Configuration, Replica, replica_id
from harmonia_compiler.plan.problem import Problem, devices_by_type
from harmonia_compiler.plan.variables import Key


def place(problem: Problem, counts: dict[Key, int], running: Sequence[Replica] = ()) -> tuple[Replica, ...]:
    """The replicas, by engine, then host, with ids of their own like `engine-0`; what runs and stays keeps its own."""
    chosen: list[tuple[int, int, Configuration]] = []
    for (e, c, h), count in sorted(counts.items(), key=lambda item: (item[0][0], item[0][2], item[0][1])):
        chosen += [(e, h, problem.needs[e].options[c].configuration)] * count
    former = _former(problem, chosen, running)
    devices = _assign(problem, chosen, former) or _assign(problem, chosen, {})
    if devices is None:
        raise RuntimeError("what fits by the sum of devices does not fit on them")
    taken = {one.id for one in former.values()}
    numbers: dict[int, int] = {}
    replicas = []
    for at, (e, h, configuration) in enumerate(chosen):
        need = problem.needs[e]
        name = former[at].id if at in former else ""
        while not name:
            numbers[e] = numbers.get(e, -1) + 1
            name = "" if (free := replica_id(need.engine, numbers[e])) in taken else free
        taken.add(name)
        replicas.append(
            Replica(
                id=name,
                engine=need.engine,
                host=problem.hosts[h].name,
                devices=devices[at],
                cores=configuration.cores,
                memory_gib=configuration.memory_gib,
                config=configuration,
                serves=need.components,
            )
        )
    return tuple(replicas)


def _former(
    problem: Problem, chosen: Sequence[tuple[int, int, Configuration]], running: Sequence[Replica]
) -> dict[int, Replica]:
    """The replica that each of the chosen ones was, by position, where it was any."""
    left: dict[tuple[str, str, Configuration], list[Replica]] = {}
    for replica in running:
        left.setdefault((replica.engine, replica.host, replica.config), []).append(replica)
    found = {}
    for at, (e, h, configuration) in enumerate(chosen):
        alike = left.get((problem.needs[e].engine, problem.hosts[h].name, configuration))
        if alike:
            found[at] = alike.pop(0)
    return found


def _assign(
    problem: Problem, chosen: Sequence[tuple[int, int, Configuration]], former: dict[int, Replica]
) -> list[tuple[int, ...]] | None:
    """The devices of each; None where there are none for some, those of former replicas given to them."""
    free = [{index: 1.0 for indices in devices_by_type(host).values() for index in indices} for host in problem.hosts]
    assigned: list[tuple[int, ...]] = [()] * len(chosen)
    for at in sorted(range(len(chosen)), key=lambda at: (at not in former, -chosen[at][2].gpus, at)):
        _, h, configuration = chosen[at]
        if not configuration.gpu:
            continue
        share = min(configuration.gpus, 1.0)
        own = devices_by_type(problem.hosts[h]).get(configuration.gpu, [])
        candidates = [index for index in own if free[h][index] >= share]
        candidates.sort(key=lambda index: (free[h][index], index))
        wanted = former[at].devices if at in former else tuple(candidates[: max(1, round(configuration.gpus))])
        if len(wanted) != max(1, round(configuration.gpus)) or not set(wanted) <= set(candidates):
            return None
        assigned[at] = tuple(sorted(wanted))
        for index in assigned[at]:
            free[h][index] -= share
    return assigned
