"""Llamas of random weights, in the shapes of real ones: as fast as those, and nothing is downloaded."""

# mypy: allow-untyped-calls

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.engines.tokens import BEGIN, END, byte_tokenizer
from harmonia_compiler.contract.card import Card

#: By name, what `config.json` says of each: Llama 3.2 1B and 3B, Llama 3.1 8B, 8 of the 126 layers of Llama 3.1 405B,
#: and one for processors. Those 8 are what a GPU holds where a pipeline of 16 serves that model, and so wide that
#: reading the weights of a layer takes a GPU longer than it takes the host to launch the layer's kernels.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 256,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 768,
    },
    "1b": {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 8192,
        "tie_word_embeddings": True,
    },
    "3b": {
        "vocab_size": 128_256,
        "hidden_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "intermediate_size": 8192,
        "tie_word_embeddings": True,
    },
    "8b": {
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14_336,
    },
    "405b-8-layers": {
        "vocab_size": 128_256,
        "hidden_size": 16_384,
        "num_hidden_layers": 8,
        "num_attention_heads": 128,
        "num_key_value_heads": 8,
        "intermediate_size": 53_248,
    },
}


def config_of(name: str, context: int) -> LlamaConfig:
    """The configuration of a shape; where it names no vocabulary, the tokenizer's."""
    tokens = byte_tokenizer()
    shape = {"vocab_size": tokens.get_vocab_size(), **SHAPES[name]}
    begin, end = (tokens.token_to_id(each) for each in (BEGIN, END))
    return LlamaConfig(**shape, max_position_embeddings=context, bos_token_id=begin, eos_token_id=end)


def make(config: LlamaConfig, device: str) -> LlamaForCausalLM:
    """The model, in bfloat16 and the same each time."""
    torch.manual_seed(7)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.eval()
    return model


def write(folder: Path, name: str, context: int) -> None:
    """The model and its tokenizer as a folder that engines load."""
    words = {"bos_token": BEGIN, "eos_token": END, "pad_token": END}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer(), **words)
    tokenizer.chat_template = "{% for message in messages %}<s>{{ message['content'] }}</s>{% endfor %}"
    make(config_of(name, context), "cpu").save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def card_of(name: str, context: int) -> Card:
    """What planning knows of a shape."""
    config = config_of(name, context)
    parameters = sum(each.numel() for each in make(config, "meta").parameters())
    return Card(
        name=f"llama-{name}",
        role="llm",
        revision="random",
        licence="none",
        parameters=parameters,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=SHAPES[name]["num_key_value_heads"],
        head_dim=config.hidden_size // config.num_attention_heads,
        context=context,
        vocabulary=config.vocab_size,
        source="counted from a model of random weights",
    )
