"""Whether engines can be what they are asked to be, on any hardware: stores one server, models of their kind's trade.

An embedder also stays what it is: what it embedded yesterday is searched by what it embeds tomorrow.
A model without a card here is left: it may be added on the machine that plans.
"""

from collections.abc import Iterator, Mapping, Sequence

from harmonia_compiler.check.made import OWN_REPLICAS
from harmonia_compiler.contract.card import Cards, ModelReference, is_fixed, load_cards
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Note, Rejected
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.kinds.kind import COMMON_SETTINGS, REVISION, Kind

_ROLES = {"llm": "a language model", "embedder": "an embedding model", "reranker": "a reranking model"}


def impossible(application: Application, kinds: Mapping[str, Kind], cards: Cards) -> Iterator[Diagnostic]:
    """What no inventory mends in what an application asks of its engines."""
    standing: dict[str, list[str]] = {}
    for name, component in sorted(application.components.items()):
        standing.setdefault(component.engine, []).append(name)
    yield from _copied_stores(application, dict(sorted(standing.items())), kinds)
    yield from _misused_models(application, sorted(standing), kinds, cards)
    yield from _moving_embedders(application, sorted(standing), kinds, cards)


def _copied_stores(
    application: Application, standing: Mapping[str, Sequence[str]], kinds: Mapping[str, Kind]
) -> Iterator[Diagnostic]:
    """Stateful engines that are asked to be more than one server, by different settings or by how many they may be."""
    stores: dict[str, list[str]] = {}
    for engine in standing:
        kind = application.engines[engine].kind
        if kinds[kind].stateful:
            stores.setdefault(kind, []).append(engine)
    for kind, engines in stores.items():
        own = [engine for engine in engines if _is_own(application, standing[engine])] if len(engines) > 1 else []
        for engine in own:
            message = f"`{engine}` asks for a server of its own, and {_one_server(kind)}"
            place = application.place(engine, OWN_REPLICAS)
            yield Diagnostic("E0711", message, place, help=f"leave `{OWN_REPLICAS}` out")
        if len(shared := [engine for engine in engines if engine not in own]) > 1:
            yield _differing(application, kinds[kind], shared, standing)
        for engine in engines:
            for setting, more in (("min_replicas", "more than one replica"), ("min_hosts", "more than one host")):
                if int(application.engines[engine].settings.get(setting) or 1) > 1:
                    ask = "asks" if len(standing[engine]) == 1 else "ask"
                    message = f"{_names(standing[engine])} {ask} for {more}, and a {kind} server is never copied"
                    place = application.place(engine, setting)
                    help_ = f"leave `{setting}` out; give the server more `memory` instead"
                    yield Diagnostic("E0712", message, place, help=help_)


def _differing(
    application: Application, kind: Kind, engines: Sequence[str], standing: Mapping[str, Sequence[str]]
) -> Diagnostic:
    defaults = {one.name: one.default for one in (*kind.settings, *COMMON_SETTINGS) if one.scope == "engine"}
    given = [{**defaults, **application.engines[engine].settings} for engine in engines]
    differing = sorted(name for name in defaults if any(one[name] != given[0][name] for one in given))
    settings = _names(differing)
    components = _names([component for engine in engines for component in standing[engine]])
    given_at = [(place, name) for name in differing for engine in engines if (place := application.place(engine, name))]
    return Diagnostic(
        "E0711",
        f"{components} differ in {settings}, and {_one_server(kind.name)}",
        given_at[-1][0],
        help=f"give {settings} the same value everywhere, or make them from one component",
        notes=tuple(Note(place, f"`{name}` stands here") for place, name in given_at[:-1]),
    )


def _is_own(application: Application, components: Sequence[str]) -> bool:
    return any(application.components[name].settings.get(OWN_REPLICAS) == "never" for name in components)


def _one_server(kind: str) -> str:
    return f"the {kind} components of a plan share one server"


def _misused_models(
    application: Application, engines: Sequence[str], kinds: Mapping[str, Kind], cards: Cards
) -> Iterator[Diagnostic]:
    """Models that their kind cannot use, and contexts longer than their model has."""
    for name in engines:
        engine = application.engines[name]
        kind = kinds[engine.kind]
        setting, reference = kind.model_setting, kind.model_of(engine)
        card = None if reference is None else cards.get(reference)
        if setting is None or reference is None or card is None:
            continue
        model = reference.name
        if card.role not in kind.roles:
            known = sorted(one.name for one in cards if one.role in kind.roles)
            message = f"`{model}` is {_ROLES[card.role]}, which `{kind.name}` cannot use"
            yield Diagnostic("E0806", message, application.place(name, setting), help=f"there are {listed(known)}")
            continue
        if narrowing := kind.narrowing(card.role, engine.settings):
            by = f"`{narrowing.setting}: {narrowing.value!r}`".replace("'", '"')
            known = sorted(one.name for one in cards if one.role in narrowing.roles)
            message = f"`{model}` is {_ROLES[card.role]}, which `{kind.name}` cannot use with {by}"
            help_ = f"leave `{narrowing.setting}` out, or give one of the models {listed(known)}"
            yield Diagnostic("E0806", message, application.place(name, narrowing.setting), help=help_)
            continue
        wanted = engine.settings.get("max_model_len")
        if wanted is not None and wanted > card.context:
            message = f"`max_model_len` is {wanted}, and `{model}` reads {card.context} tokens"
            place = application.place(name, "max_model_len")
            yield Diagnostic("E0807", message, place, help=f"give at most {card.context}, or leave it out")


def _moving_embedders(
    application: Application, engines: Sequence[str], kinds: Mapping[str, Kind], cards: Cards
) -> Iterator[Diagnostic]:
    """Embedders whose revision is a branch or a tag, of which another content may come tomorrow under the same name."""
    for name in engines:
        engine = application.engines[name]
        kind = kinds[engine.kind]
        model = kind.model_of(engine) if kind.embeds else None
        if model is None:
            continue
        now = cards.get(ModelReference(model.name, None))
        revision = model.revision or (now.revision if now is not None else None)
        if revision is None or is_fixed(revision):
            continue
        place = application.place(name, str(kind.model_setting) if model.revision is None else REVISION.name)
        if is_fixed(small := revision.lower()):
            why = f"`{revision}` is no commit as hubs write it, in small letters: only those say that it never moves"
            yield Diagnostic("E0813", why, place, help=f"write `{small}`")
            continue
        commit = "name a commit, of 40 digits"
        own = now is not None and model.revision is not None and is_fixed(now.revision)
        yield Diagnostic(
            "E0813",
            f"`{revision}` moves, and the vectors of a collection are of one revision of their embedder",
            place,
            help=f"{commit}, or leave `revision` out for that of the card" if own else f'{commit}: `revision: "…"`',
        )


def cards_here() -> Cards:
    """The cards that can be read here; what is wrong with one in the store is said where a plan needs it."""
    try:
        return load_cards()
    except Rejected:
        return Cards([])


def _names(components: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in sorted(components))
