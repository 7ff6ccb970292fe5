"""What no inventory mends: stores that cannot be one server, models of another trade or too short for what is asked."""

import math
from collections.abc import Iterator, Mapping, Sequence

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Note
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.flow.demand import Demand
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.kinds.kind import value_of
from harmonia_compiler.kinds.llm import context_length
from harmonia_compiler.kinds.registry import kinds

_ROLES = {"llm": "a language model", "embedder": "an embedding model", "reranker": "a reranking model"}

#: The components that are called, by engine.
Called = Mapping[str, Sequence[str]]


def unplannable(application: Application, called: Called) -> Iterator[Diagnostic]:
    """Stateful engines that are asked to be more than one server, by different settings or by how many they may be."""
    stores: dict[str, list[str]] = {}
    for engine in called:
        kind = application.engines[engine].kind
        if kinds()[kind].stateful:
            stores.setdefault(kind, []).append(engine)
    for kind, engines in stores.items():
        if len(engines) > 1:
            yield _differing(application, kind, engines, called)
        for engine in engines:
            for setting, more in (("min_replicas", "more than one replica"), ("min_hosts", "more than one host")):
                if int(application.engines[engine].settings.get(setting) or 1) > 1:
                    message = f"{_names(called[engine])} asks for {more}, and a {kind} server is never copied"
                    place = application.place(engine, setting)
                    help_ = f"leave `{setting}` out; give the server more `memory` instead"
                    yield Diagnostic("E0712", message, place, help=help_)


def _differing(application: Application, kind: str, engines: Sequence[str], called: Called) -> Diagnostic:
    given = [application.engines[engine].settings for engine in engines]
    names = sorted({name for settings in given for name in settings})
    differing = [name for name in names if any(one.get(name) != given[0].get(name) for one in given)]
    settings = _names(differing)
    components = _names([component for engine in engines for component in called[engine]])
    message = f"{components} differ in {settings}, and the {kind} components of a plan share one server"
    given_at = [(place, name) for name in differing for engine in engines if (place := application.place(engine, name))]
    return Diagnostic(
        "E0711",
        message,
        given_at[-1][0] if given_at else None,
        help=f"give {settings} the same value everywhere, or make them from one component",
        notes=tuple(Note(place, f"`{name}` stands here") for place, name in given_at[:-1]),
    )


def misused(application: Application, called: Called) -> Iterator[Diagnostic]:
    """Models that their kind cannot use, and contexts longer than their model has; models without a card are left."""
    cards = load_cards()
    for engine_id in called:
        engine = application.engines[engine_id]
        kind = kinds()[engine.kind]
        if kind.model_setting is None:
            continue
        model = str(engine.settings[kind.model_setting])
        card = cards.get(model)
        if card is None:
            continue
        if card.role not in kind.roles:
            known = sorted({one.name for one in cards.values() if one.role in kind.roles})
            message = f"`{model}` is {_ROLES[card.role]}, which `{kind.name}` cannot use"
            place = application.place(engine_id, kind.model_setting)
            yield Diagnostic("E0806", message, place, help=f"there are {listed(known)}")
            continue
        wanted = engine.settings.get("max_model_len")
        if wanted is not None and wanted > card.context:
            message = f"`max_model_len` is {wanted}, and `{model}` reads {card.context} tokens"
            place = application.place(engine_id, "max_model_len")
            yield Diagnostic("E0807", message, place, help=f"give at most {card.context}, or leave it out")


def too_long(application: Application, called: Called, demands: Mapping[str, Demand]) -> Iterator[Diagnostic]:
    """Prompts that, as long as expected and with the answer that is allowed, exceed what their model holds."""
    cards = load_cards()
    for engine_id, components in called.items():
        engine = application.engines[engine_id]
        card = cards.get(str(engine.settings.get("model")))
        if engine.kind != "llm" or card is None or card.role != "llm":
            continue
        most = min(context_length(engine, card), card.context)
        for name in components:
            # What no request reaches has no work in any pipeline, and sends no prompt.
            prompts = [one.work[name].prompt_tokens for one in demands.values() if name in one.work]
            if not prompts:
                continue
            prompt = math.ceil(max(prompts))
            answer = int(value_of("max_tokens", application.components[name].settings, kinds()["llm"].settings))
            if prompt + answer > most:
                message = (
                    f"`{name}` is expected to send {prompt} tokens and may answer with {answer}, "
                    f"and `{engine.settings['model']}` holds {most} together"
                )
                help_ = "pass fewer or shorter passages, lower `max_tokens`"
                help_ += (
                    ", or raise `max_model_len`" if most < card.context else ", or choose a model of longer context"
                )
                yield Diagnostic("E0713", message, application.place(name, "prompt"), help=help_)


def _names(components: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in sorted(components))
