"""`llm`: generates text, or a value of a declared type, from a prompt.

The engine is vLLM. `server: "auto"` starts our own worker on transformers in its place on a host
whose Python has no vLLM (macOS, ARM), behind the same routes; `"vllm"` and `"transformers"` insist.
Which of the two it is, is settled on the host that starts the process (`contract.launch.chosen`).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Component, Engine, Insert, Prompt
from harmonia_compiler.contract.launch import Launch, Reply, Wire, Word
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.types import ListOf, Text, Value
from harmonia_compiler.kinds import vllm
from harmonia_compiler.kinds.extents import declared_extent, limited, shown_tokens, text_tokens
from harmonia_compiler.kinds.kind import NOTHING, REVISION, Extent, Fault, Kind, Setting, Work, model_setting, value_of
from harmonia_compiler.kinds.launching import model_words, weights_name, worker
from harmonia_compiler.kinds.openai import (
    BETWEEN_LOOSE,
    CHAT,
    constraint,
    decode_chat,
    decode_chat_piece,
    loose_ports,
    messages,
    post,
)
from harmonia_compiler.kinds.paragraphs import PROMPT_ORDER, in_order

SETTINGS = (
    model_setting("the language model, by the name of its card"),
    REVISION,
    Setting(
        "precision",
        "text",
        "the numbers of the weights: by itself `bf16` where the hardware has it; `any` leaves the choice to the engine",
        accepts=("bf16", "fp16", "fp32", "fp8", "any"),
    ),
    Setting(
        "max_model_len",
        "tokens",
        "the most tokens of prompt and answer together; up to 8,192 of the model's context where it is not said",
        minimum=128,
        maximum=2**20,
    ),
    Setting("tensor_parallel", "integer", "over how many GPUs one replica is spread", minimum=1, maximum=64),
    Setting(
        "server",
        "text",
        "the engine: vLLM, our own worker on transformers, or the first of them that the host has",
        default="auto",
        accepts=("auto", "vllm", "transformers"),
    ),
    Setting("prompt", "prompt", "what the model is asked; `{port}` inserts a port's value", scope="call"),
    Setting("system", "prompt", "the system prompt", scope="call"),
    Setting(
        "reorder",
        "bool",
        "whether the paragraphs of the prompt may stand in another order, so that what several calls have in common "
        "comes first and the engine's prefix cache holds it",
        scope="call",
        default=False,
    ),
    Setting(
        "max_tokens", "tokens", "the most tokens of an answer", scope="call", default=256, minimum=1, maximum=2**17
    ),
    Setting("temperature", "number", "0 takes the likeliest token", scope="call", default=0, minimum=0, maximum=2),
    Setting(
        "top_p", "number", "samples from the likeliest tokens of this share", scope="call", minimum=0.01, maximum=1
    ),
    Setting("seed", "integer", "fixes what is sampled", scope="call", minimum=0, maximum=2**31 - 1),
    Setting(
        "stop",
        "text",
        "ends an answer where this text would come; one that is no text ends by its form",
        scope="call",
        pattern=r"(?s).+",
        form="a text that is not empty",
    ),
)

#: vLLM's option to go on up to `max_tokens` past the model's own end: load generators ask for it, no pipeline does.
IGNORE_EOS = "ignore_eos"
#: Says where a call stands among those that wait inside vLLM: the lowest goes first, and is put aside last.
PRIORITY = "priority"
#: The context that a replica is given where the user said nothing: a full one would take most of the memory.
DEFAULT_CONTEXT = 8192
#: What a chat template adds to a system prompt and a turn, and to each further turn, in tokens: marks and a role.
TEMPLATE_TOKENS, TURN_TOKENS = 16.0, 5.0


def context_length(engine: Engine, card: Card | None) -> int:
    """Tokens of prompt and answer that a replica can hold for one call."""
    if given := engine.settings.get("max_model_len"):
        return int(given)
    return min(DEFAULT_CONTEXT, card.context) if card else DEFAULT_CONTEXT


def faults(settings: Mapping[str, Any]) -> Iterator[Fault]:
    """An answer as long as the whole context, which with its prompt it never can be; several GPUs on none."""
    answer, context = settings["max_tokens"], settings["max_model_len"] or DEFAULT_CONTEXT
    if answer >= context:
        message = f"`max_tokens` {answer} leaves no room for a prompt in `max_model_len` {context}"
        help = f"give a `max_tokens` below {context}, or a larger `max_model_len`"
        yield Fault(("max_tokens", "max_model_len"), message, help)
    degree = settings["tensor_parallel"] or 1
    if settings["on"] == "cpu" and degree > 1:
        message = f"`tensor_parallel` is {degree}, which are GPUs, but `on` is `cpu`"
        yield Fault(("tensor_parallel", "on"), message, "delete one of the two")


def kv_cache_gib(engine: Engine, card: Card | None, configuration: Configuration) -> int:
    """Whole GiB of KV cache on CPU: for `batch` calls of full length, if the configuration has that much room."""
    if card is None:
        return 1
    precision = _precision(engine, configuration)
    each = card.kv_bytes_per_token(precision)
    wanted = math.ceil(configuration.batch * context_length(engine, card) * each / 2**30)
    weights = max(card.weights_gib, card.parameters * (4.0 if precision == "fp32" else 2.0) / 2**30)
    room = math.floor(configuration.memory_gib - weights - vllm.CPU_RUNTIME_GIB)
    return max(1, min(wanted, room))


def work(component: Component, inputs: Mapping[str, Extent], result: Extent) -> Work:
    """The tokens of the prompt as it will be rendered, and of the answer."""
    prompts = [prompt for prompt in (component.system, component.prompt) if prompt is not None]
    tokens = sum(_prompt_tokens(component, prompt, inputs) for prompt in prompts)
    turns, loose = loose_ports(component)
    before = [inputs[port.name] for port in turns if port.name in inputs]
    asked = [shown_tokens(port.type, inputs[port.name]) for port in loose if port.name in inputs]
    tokens += sum(turn.tokens for turn in before) + sum(asked) + text_tokens(BETWEEN_LOOSE) * max(0, len(asked) - 1)
    last = 1.0 if component.prompt is not None or asked else 0.0
    tokens += template_tokens(sum(turn.items for turn in before) + last)
    return Work(prompt_tokens=tokens, output_tokens=answer_tokens(component, result))


def template_tokens(turns: float) -> float:
    """What a chat template adds to a conversation of so many turns, with or without a system prompt."""
    return TEMPLATE_TOKENS + max(0.0, turns - 1.0) * TURN_TOKENS


def _prompt_tokens(component: Component, prompt: Prompt, inputs: Mapping[str, Extent]) -> float:
    types = {port.name: port.type for port in component.ports}
    tokens = 0.0
    for part in prompt:
        if not isinstance(part, Insert):
            tokens += text_tokens(part)
        elif extent := inputs.get(part.port):
            tokens += shown_tokens(types[part.port], extent)
    return tokens


def result_extent(component: Component, inputs: Mapping[str, Extent] = NOTHING) -> Extent:
    """What the declaration says; of free text, else, half of what it may be at most."""
    limit = float(value_of("max_tokens", component.settings, SETTINGS))
    is_limited = "max_tokens" in component.settings
    if isinstance(component.result, Text) and component.size is None:
        return Extent(limit / 2, guessed=not is_limited)
    extent = declared_extent(component)
    # Whoever limits the tokens has said about how many there are, but not in how many items.
    is_told = is_limited and (component.size is not None or not isinstance(component.result, ListOf))
    return replace(limited(extent, component.result, limit), guessed=extent.guessed and not is_told)


def answer_tokens(component: Component, result: Extent) -> float:
    """How many tokens an engine writes for a result: no more than it may, which JSON alone can be longer than."""
    return min(result.tokens, float(value_of("max_tokens", component.settings, SETTINGS)))


def launch(engine: Engine, card: Card | None, configuration: Configuration) -> Launch:
    """vLLM, our own worker, or the first with the second to fall back on."""
    server = value_of("server", engine.settings, SETTINGS)
    if server == "transformers":
        return _transformers(engine, card, configuration)
    otherwise = _transformers(engine, card, configuration) if server == "auto" else None
    return msgspec.structs.replace(_vllm(engine, card, configuration), otherwise=otherwise)


def _vllm(engine: Engine, card: Card | None, configuration: Configuration) -> Launch:
    words: tuple[Word, ...] = (
        # Who is most in a hurry goes first, and not who came first: the gateway says with each call how much it is.
        *("--scheduling-policy", "priority"),
        # What a call does not say is not taken from the model's own sampling advice.
        *("--generation-config", "vllm"),
        # A small model under a schema would otherwise go on writing spaces.
        *("--structured-outputs-config", '{"backend":"xgrammar","disable_any_whitespace":true}'),
    )
    return vllm.generating(
        engine,
        card,
        configuration,
        words,
        precision=_precision(engine, configuration),
        context=context_length(engine, card),
        cache_gib=kv_cache_gib(engine, card, configuration),
        warm_up=_warm_up(str(engine.settings["model"])),
    )


def _precision(engine: Engine, configuration: Configuration) -> str:
    """What the component asks for or, where it leaves that open, what the hardware multiplies fast."""
    return str(engine.settings.get("precision", configuration.precision))


def _warm_up(model: str) -> tuple[Wire, ...]:
    """One free and one constrained answer: the first of each kind pays for what later ones reuse."""
    ask: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 2}
    return (post(CHAT, ask), post(CHAT, {**ask, "structured_outputs": {"choice": ["yes", "no"]}}))


def _transformers(engine: Engine, card: Card | None, configuration: Configuration) -> Launch:
    model = str(engine.settings["model"])
    words = (
        *model_words(model, _precision(engine, configuration), configuration),
        *("--max-model-len", str(context_length(engine, card))),
    )
    return worker(
        "llm",
        words,
        configuration,
        module="transformers",
        extra="torch",
        model=weights_name(model, card),
        timeout_s=420.0,
    )


def encode(engine: Engine, component: Component, inputs: Mapping[str, Value], *, stream: bool) -> Wire:
    """A chat completion; typed results under the constraint of their type."""
    given = component.settings
    order = given.get(PROMPT_ORDER)
    if order is not None and component.prompt is not None:
        component = msgspec.structs.replace(component, prompt=in_order(component.prompt, order))
    document: dict[str, Any] = {
        "model": engine.settings["model"],
        "messages": messages(component, inputs),
        "max_tokens": value_of("max_tokens", given, SETTINGS),
        "temperature": value_of("temperature", given, SETTINGS),
        **{name: given[name] for name in ("top_p", "seed") if given.get(name) is not None},
        **constraint(component.result),
    }
    # Where an answer of another type ends is settled by its form alone.
    if component.result == Text():
        document |= {name: given[name] for name in ("stop", IGNORE_EOS) if given.get(name)}
    if priority := given.get(PRIORITY):
        document[PRIORITY] = priority
    if stream:
        document |= {"stream": True, "stream_options": {"include_usage": True}}
    return post(CHAT, document)


def probe(engine: Engine) -> Wire:
    """One token: what `/health` says of vLLM is that its front is there, and not that its engine works."""
    turn = {"role": "user", "content": "1"}
    return post(CHAT, {"model": engine.settings["model"], "messages": [turn], "max_tokens": 1, "temperature": 0})


def decode(component: Component, body: bytes, inputs: Mapping[str, Value] = NOTHING) -> Reply:
    """The answer as a value of the declared type."""
    return decode_chat(component, body)


KIND = Kind(
    name="llm",
    doc="Generates text, or a value of a declared type, from a prompt.",
    settings=SETTINGS,
    unnamed="model",
    signature=None,
    transport="http",
    runs_on=("gpu", "cpu"),
    work=work,
    result_extent=result_extent,
    launch=launch,
    encode=encode,
    decode=decode,
    decode_piece=decode_chat_piece,
    has_prompt=True,
    model_setting="model",
    roles=("llm",),
    asked_only=frozenset({IGNORE_EOS}),
    priority_setting=PRIORITY,
    own_faults=faults,
    probe=probe,
    prefix_cache=vllm.PREFIX_CACHE,
    example='component small = llm("meta-llama/Llama-3.2-3B-Instruct")\n'
    'component answer(question: text) -> text ~ 90 tokens = small("Answer: {question}", max_tokens: 256)',
)
