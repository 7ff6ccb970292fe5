"""What no inventory mends, once it is known how much is sent: models too short for what is asked of them."""

import math
from collections.abc import Iterator, Mapping, Sequence

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.flow.demand import Demand
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.kinds.kind import value_of
from harmonia_compiler.kinds.llm import context_length
from harmonia_compiler.kinds.registry import kinds

#: The components that are called, by engine.
Called = Mapping[str, Sequence[str]]


def too_long(application: Application, called: Called, demands: Mapping[str, Demand]) -> Iterator[Diagnostic]:
    """Prompts that, as long as expected and with the answer that is allowed, exceed what their model holds."""
    cards = load_cards()
    for engine_id, components in called.items():
        engine = application.engines[engine_id]
        model = kinds()["llm"].model_of(engine) if engine.kind == "llm" else None
        card = None if model is None else cards.get(model)
        if card is None or card.role != "llm":
            continue
        most = min(context_length(engine, card), card.context)
        for name in components:
            # What no request reaches has no work in any pipeline, and sends no prompt.
            prompts = [
                call.work.prompt_tokens for one in demands.values() for call in one.calls if call.component == name
            ]
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
