"""What kinds that run a model have in common: settings, and the command of our own worker process."""

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.launch import Fill, Launch, Probe, Wire, Word
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.kind import Setting, value_of

ENCODER_PRECISION = Setting(
    "precision", "text", "the numbers that the model computes in", default="fp32", accepts=("fp32", "bf16", "fp16")
)
ENCODER_SERVER = Setting(
    "server",
    "text",
    "the engine: our own worker on transformers, or vLLM",
    default="transformers",
    accepts=("transformers", "vllm"),
)

#: The fewest sequences that an encoder takes through its layers together, where so many wait: fewer waste the hardware.
FEWEST_PER_PASS = 32

#: What keeps libraries of models from asking a hub or reporting usage.
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}


def worker(
    role: str,
    words: tuple[Word, ...],
    configuration: Configuration,
    *,
    module: str | None = None,
    extra: str | None = None,
    model: str | None = None,
    warm_up: tuple[Wire, ...] = (),
    timeout_s: float = 180.0,
) -> Launch:
    """A worker of ours in a configuration; `words` are what the role takes beside place and cores."""
    cores = whole_cores(configuration)
    command: tuple[Word, ...] = (
        Fill("python"),
        "-m",
        "harmonia_compiler.runtime.worker",
        role,
        *words,
        "--cores",
        str(cores),
        "--host",
        Fill("host"),
        "--port",
        Fill("port"),
    )
    return Launch(
        command,
        Probe("http", "/health", timeout_s, warm_up),
        {**OFFLINE, "OMP_NUM_THREADS": str(cores)},
        extra=extra,
        model=model,
        module=module,
    )


def encoder(role: str, engine: Engine, card: Card | None, configuration: Configuration) -> Launch:
    """The torch worker in a role that encodes texts, with the weights of the engine's model."""
    model = str(engine.settings["model"])
    precision = value_of(ENCODER_PRECISION.name, engine.settings, (ENCODER_PRECISION,))
    return worker(
        role,
        model_words(model, precision, configuration),
        configuration,
        module="transformers",
        extra="torch",
        model=weights_name(model, card),
    )


def model_words(name: str, precision: str, configuration: Configuration) -> tuple[Word, ...]:
    """The words that every worker with a model takes: its public name, weights, numbers, device, batch."""
    return (
        "--model",
        name,
        "--weights",
        Fill("weights"),
        "--precision",
        precision,
        "--device",
        "cuda" if configuration.gpu else "cpu",
        "--batch",
        str(configuration.batch),
    )


def weights_name(name: str, card: Card | None) -> str:
    """How a launch names the weights that it needs: `name@revision` of its model's card, which is of that revision.

    A plan stands for one revision: what is added or released later under the name is another model.
    """
    return name if card is None else f"{card.name}@{card.revision}"


def whole_cores(configuration: Configuration) -> int:
    """Threads for a configuration: its cores, at least one."""
    return max(1, int(configuration.cores))
