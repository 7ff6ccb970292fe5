"""A tokenizer of single bytes, made on the spot: models of random weights need one, and nothing is downloaded."""

from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as token_models

BEGIN, END = "<s>", "</s>"
_TEXT = ["where are vectors stored and who wrote hamlet", "the quick brown fox jumps over the lazy dog"]


def byte_tokenizer() -> Tokenizer:
    """The tokenizer: bytes, and what of a few words stands together."""
    made = Tokenizer(token_models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_TEXT, trainer)
    return made
