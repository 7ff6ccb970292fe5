"""What the replicas of models hold in memory, as a plan states it."""

from collections.abc import Mapping, Sequence

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.plan import Configuration, MemoryUse, Replica
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.plan.predict import rounded
from harmonia_compiler.profile.memory import memory_of, precision_of


def memory_uses(engines: Mapping[str, Engine], replicas: Sequence[Replica]) -> tuple[MemoryUse, ...]:
    """One entry for each configuration in use of each engine that has a model, by their names.

    Raises Rejected where no card names a model, as planning does.
    """
    cards = load_cards()
    used: dict[tuple[str, str], Configuration] = {}
    for replica in replicas:
        used.setdefault((replica.engine, replica.config.describe()), replica.config)
    found = []
    for (name, described), configuration in sorted(used.items()):
        model = kinds()[engines[name].kind].model_of(engines[name])
        if model is None:
            continue
        card = cards.of(model)
        memory = memory_of(engines[name], card, configuration)
        each = card.kv_bytes_per_token(precision_of(engines[name], card, configuration.precision))
        tokens = memory.cache_gib * 2**30 / each if memory.cache_gib else 0.0
        amounts = (memory.weights_gib, memory.cache_gib, tokens, memory.rest_gib)
        found.append(MemoryUse(name, described, *map(rounded, amounts)))
    return tuple(found)


def model_setting(engine: Engine) -> str | None:
    """The setting that names the model of an engine; None for what has no model."""
    return kinds()[engine.kind].model_setting


def room_gib(configuration: Configuration) -> float:
    """The memory that a replica has for its model: of its devices, or of its host where it has none."""
    if configuration.gpu:
        return configuration.gpu_memory_gib * configuration.tensor_parallel
    return configuration.memory_gib
