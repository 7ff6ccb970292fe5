"""Counts of replicas per host → replicas on devices.

Devices of a host are numbered in the order of its inventory entry. Whole groups are placed first,
then fractions from large to small; since fractions are powers of two, this fills every device.
"""

from harmonia_compiler.contract.plan import Configuration, Replica
from harmonia_compiler.plan.problem import Problem, devices_by_type
from harmonia_compiler.plan.variables import Key


def place(problem: Problem, counts: dict[Key, int]) -> tuple[Replica, ...]:
    """The replicas, by engine, then host, with ids such as `engine-0`."""
    chosen: list[tuple[int, int, Configuration]] = []
    for (e, c, h), count in sorted(counts.items(), key=lambda item: (item[0][0], item[0][2], item[0][1])):
        chosen += [(e, h, problem.needs[e].options[c].configuration)] * count
    devices = _assign(problem, chosen)
    numbers: dict[int, int] = {}
    replicas = []
    for at, (e, h, configuration) in enumerate(chosen):
        need = problem.needs[e]
        number = numbers[e] = numbers.get(e, -1) + 1
        replicas.append(
            Replica(
                id=f"{need.engine}-{number}",
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


def _assign(problem: Problem, chosen: list[tuple[int, int, Configuration]]) -> list[tuple[int, ...]]:
    free = [{index: 1.0 for indices in devices_by_type(host).values() for index in indices} for host in problem.hosts]
    assigned: list[tuple[int, ...]] = [()] * len(chosen)
    for at in sorted(range(len(chosen)), key=lambda at: (-chosen[at][2].gpus, at)):
        _, h, configuration = chosen[at]
        if not configuration.gpu:
            continue
        share = min(configuration.gpus, 1.0)
        own = devices_by_type(problem.hosts[h])[configuration.gpu]
        candidates = [index for index in own if free[h][index] >= share]
        candidates.sort(key=lambda index: (free[h][index], index))
        wanted = max(1, round(configuration.gpus))
        if len(candidates) < wanted:
            raise RuntimeError(f"no {configuration.gpu} is left on {problem.hosts[h].name} for what fits by the sum")
        assigned[at] = tuple(sorted(candidates[:wanted]))
        for index in assigned[at]:
            free[h][index] -= share
    return assigned
