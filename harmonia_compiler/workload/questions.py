"""Questions of a stated length, made of words: no two are alike, and none begins like another unless a trace says so.

A word of these with the space before it is one token to most tokenisers, and about one to the others; it has as many
letters as a token has in the mean, by which emulated engines count.
"""

from hashlib import blake2b

from harmonia_compiler.workload.request import Arrival

#: As many words as seven bits can tell apart.
_TEXT = """
act add age ago aid aim air all and any arm art ask bad bag bar bay bed big bit box boy bus but buy can cap car cat
cry cup cut day dog dry ear eat end eye far few fit fly for fun gas get hat her him his hit hot how ice ink its job
joy key law lay led leg let lie log lot low man map may men met mix net new nor not now odd off oil old one our out
own pay pen per pet pin put ran raw red row run sad say sea see set she sit six sky son sun tax tea ten the too top
toy try two use was way who why win yes yet you
"""
_WORDS = tuple(_TEXT.split())


def question(seed: int, number: int, tokens: int) -> str:
    """The question of the request with this number: so many words, at least one."""
    return " ".join(_words(f"{seed} question {number}", max(1, tokens)))


def prompt(seed: int, number: int, arrival: Arrival, tokens: int) -> str:
    """The same, but it begins as the recorded prompt did: like those prompts with which it shared blocks.

    Only where the trace says how long a block is; a prompt whose blocks are of unknown length is a question.
    """
    if arrival.block_tokens is None:
        return question(seed, number, tokens)
    words: list[str] = []
    for name in arrival.prefix:
        words += _words(f"{seed} block {name}", min(arrival.block_tokens, tokens - len(words)))
    words += _words(f"{seed} question {number}", tokens - len(words))
    return " ".join(words or _words(f"{seed} question {number}", 1))


def _words(key: str, count: int) -> list[str]:
    """So many words that no other key gives in this order; none where the count is not above 0."""
    found: list[str] = []
    while len(found) < count:
        digest = blake2b(f"{key}\0{len(found)}".encode()).digest()
        found += [_WORDS[byte & 127] for byte in digest]
    return found[: max(0, count)]
