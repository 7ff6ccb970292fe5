"""Questions of a stated length, made of words: no two are alike, and none begins like another unless a trace says so.

A word of these with the space before it is one token to most tokenisers, and about one to the others.
"""

from hashlib import blake2b

from harmonia_compiler.workload.request import Arrival

#: As many words as seven bits can tell apart.
_TEXT = """
about above across action after again against agent almost along already also although always among amount animal
another answer around article author balance because become before began behind being below better between beyond
body book both bridge bring brother build building business called center century chance change chapter choice city
class clear close coast common company control corner country course cover create current dark daughter decision
deep degree design detail difference different direction distance during early earth east economy effect effort
either energy enough evening event every evidence example experience face fact family father field figure final fire
first follow food force foreign forest form forward friend front future garden general glass goal good government
great green ground group growth half hand happen harbour heart heavy history house
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
