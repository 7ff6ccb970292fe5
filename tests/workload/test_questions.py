"""Made-up questions: as long as asked, unlike each other, and alike where a trace says that prompts were."""

import math
from itertools import takewhile

from harmonia_compiler.kinds.extents import text_tokens
from harmonia_compiler.workload.questions import prompt, question
from harmonia_compiler.workload.request import Arrival


def test_a_question_has_as_many_words_as_tokens() -> None:
    assert [len(question(1, 7, tokens).split()) for tokens in (0, 1, 64, 65, 3000)] == [1, 1, 64, 65, 3000]


def test_a_question_has_as_many_tokens_as_asked_for_also_where_letters_are_counted() -> None:
    for tokens in (1, 30, 3000):
        assert math.ceil(text_tokens(question(1, 7, tokens))) == tokens


def test_no_two_questions_begin_alike() -> None:
    beginnings = {" ".join(question(1, number, 40).split()[:6]) for number in range(2000)}
    assert len(beginnings) == 2000
    assert question(1, 3, 40) == question(1, 3, 40) != question(2, 3, 40)


def shared(one: Arrival, other: Arrival) -> int:
    """How many words two prompts have in common at their beginning."""
    prompts = [prompt(1, number, each, each.prompt_tokens or 0).split() for number, each in enumerate((one, other))]
    assert [len(words) for words in prompts] == [one.prompt_tokens, other.prompt_tokens]
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*prompts, strict=False)))


def test_prompts_share_the_blocks_that_the_recorded_ones_shared() -> None:
    first = Arrival(0.0, prompt_tokens=130, prefix=(4, 5, 6), block_tokens=50)
    assert shared(first, Arrival(0.0, prompt_tokens=240, prefix=(4, 5, 7), block_tokens=50)) == 100
    assert shared(first, Arrival(0.0, prompt_tokens=60, prefix=(4, 5), block_tokens=50)) == 60
    assert shared(first, Arrival(0.0, prompt_tokens=130, prefix=(9, 5, 6), block_tokens=50)) < 4


def test_blocks_of_unknown_length_are_not_guessed() -> None:
    one = Arrival(0.0, prompt_tokens=130, prefix=(4, 5, 6))
    assert shared(one, one) < 4
