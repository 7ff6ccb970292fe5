"""The paragraphs of a prompt: what a blank line of the template parts, and how they stand in another order.

Only the template's own text is looked at; a value that has blank lines stays in one piece.
"""

import re
from collections.abc import Sequence

from harmonia_compiler.contract.component import Prompt, PromptPart

#: The call setting in which a pass says the order, as the numbers of the paragraphs from 0. No kind declares
#: it, so that no file and no request can give it.
PROMPT_ORDER = "prompt_order"

#: Spaces are looked through from the first of them alone, however many there are.
_BLANK = re.compile(r"((?<![ \t])(?:[ \t]*\n){2,})")


def paragraphs(prompt: Prompt) -> tuple[Prompt, ...]:
    """The paragraphs in their order, each as the parts that it has; the blank lines between them are in none."""
    return _parted(prompt)[0]


def in_order(prompt: Prompt, order: Sequence[int]) -> Prompt:
    """The prompt with its paragraphs in this order; the blank lines stay where they are."""
    parts, blanks = _parted(prompt)
    if sorted(order) != list(range(len(parts))):
        raise ValueError(f"{list(order)} is no order of {len(parts)} paragraphs")
    moved = list(parts[order[0]])
    for blank, number in zip(blanks, order[1:], strict=True):
        moved += [blank, *parts[number]]
    return _joined(moved)


def _parted(prompt: Prompt) -> tuple[tuple[Prompt, ...], list[str]]:
    """The paragraphs, and the blank lines between each and the next."""
    found: list[list[PromptPart]] = [[]]
    blanks: list[str] = []
    for part in prompt:
        if not isinstance(part, str):
            found[-1].append(part)
            continue
        first, *rest = _BLANK.split(part)
        found[-1] += [first] if first else []
        for blank, text in zip(rest[::2], rest[1::2], strict=True):
            blanks.append(blank)
            found.append([text] if text else [])
    return tuple(tuple(parts) for parts in found), blanks


def _joined(parts: Sequence[PromptPart]) -> Prompt:
    """The parts with texts that follow each other made one."""
    joined: list[PromptPart] = []
    for part in parts:
        if joined and isinstance(part, str) and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)
