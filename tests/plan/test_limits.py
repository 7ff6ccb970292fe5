"""What is refused before anything is placed, because no inventory mends it."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Host, Inventory
from harmonia_compiler.contract.plan import CutText
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan

LAPTOP = Inventory((Host("laptop", 4, 24.0),))

SOURCE = """
component minilm = embedder("all-MiniLM-L6-v2")
component handbook = milvus("handbook", embedder: minilm, top_k: {top_k})
component tickets = milvus("tickets", embedder: minilm, top_k: 4)
component small = llm("SmolLM2-135M-Instruct", max_model_len: 2048)
component answer(question: text, passages: [passage], more: [passage]) -> text = small(
    "{{passages}} {{more}} {{question}}",
    max_tokens: {max_tokens})
pipeline ask(question: text ~ 20 tokens) -> text {{
    return stream answer(question, handbook(question), tickets(question))
}}
"""


def found(folder: Path, *, top_k: int = 4, max_tokens: int = 128) -> list[Diagnostic]:
    path = folder / "ask.rag"
    path.write_text(SOURCE.format(top_k=top_k, max_tokens=max_tokens))
    checked = check_files([path])
    assert checked.application is not None, checked.found
    try:
        make_plan(checked.application, LAPTOP)
    except Rejected as rejected:
        return rejected.found
    return []


def test_a_prompt_that_leaves_no_room_for_its_answer_is_refused(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    (long,) = found(tmp_path, top_k=20)
    assert long.code == "E0713"
    assert "`answer` is expected to send 3" in long.message
    assert "holds 2048 together" in long.message
    assert long.span is not None
    assert long.span.source.text[long.span.start : long.span.end] == '"{passages} {more} {question}"'
    (answer,) = found(tmp_path, max_tokens=1500)
    assert answer.code == "E0713"


LISTED = """
component small = llm("SmolLM2-135M-Instruct", max_model_len: 2048)
component ok(name: text) -> bool = small("{name}?", max_tokens: 4)
component greet(name: text) -> text ~ 8 tokens = small("Greet {name}", max_tokens: 40)
component upper(name: text) -> text ~ 8 tokens = python("code:upper", takes: 1 ms)
pipeline ask(names: [text ~ 4 tokens] ~ ITEMS) -> [text] {
    return EACH
}
"""


@pytest.mark.parametrize(
    ("items", "each", "expected"),
    [
        (257, "each name in names: greet(name)", "257"),
        (1500, "each name in names: upper(name)", "1,500"),
        (1500, "each name in names where ok(name) ~ 0.1: name", "1,500"),
        (140, "each name in names + names: greet(name)", "280"),
    ],
)
def test_a_list_of_more_items_than_are_taken_one_by_one_is_refused(
    tmp_path: Path, items: int, each: str, expected: str
) -> None:
    ((code, message, mark),) = refused(tmp_path, LISTED.replace("ITEMS", str(items)).replace("EACH", each))
    assert (code, mark.startswith("each name in names")) == ("E0715", True)
    assert f"a list of {expected} items is expected here" in message


@pytest.mark.parametrize(
    ("items", "each"), [(256, "each name in names: greet(name)"), (1500, "each name in take(names, 200): greet(name)")]
)
def test_a_list_of_as_many_items_as_are_taken_one_by_one_is_planned(tmp_path: Path, items: int, each: str) -> None:
    planned(tmp_path, LISTED.replace("ITEMS", str(items)).replace("EACH", each))


SEARCHED = """
component minilm = embedder("all-MiniLM-L6-v2")
component handbook = milvus("handbook", embedder: minilm, top_k: 4)
pipeline ask(names: [text ~ 4 tokens] ~ ITEMS) -> [passage] {
    return flatten(each name in names: handbook(name))
}
"""


def test_items_that_one_call_is_for_are_as_many_at_most(tmp_path: Path) -> None:
    """A store is asked for all of them together, which leaves no `each`."""
    assert not planned(tmp_path, SEARCHED.replace("ITEMS", "256")).flows[0].blocks
    ((code, message, mark),) = refused(tmp_path, SEARCHED.replace("ITEMS", "300"))
    assert (code, mark) == ("E0715", "handbook(name)")
    assert "a list of 300 items is expected here" in message


def test_a_list_that_no_request_takes_one_by_one_may_be_as_long_as_it_likes(tmp_path: Path) -> None:
    seldom = 'if ok("Ada") ~ SHARE { return each name in names: greet(name) }\n    return names'
    source = LISTED.replace("ITEMS", "1500").replace("return EACH", seldom)
    planned(tmp_path, source.replace("SHARE", "0"))
    assert [code for code, _, _ in refused(tmp_path, source.replace("SHARE", "0.01"))] == ["E0715"]


#: Twenty lists in each other, each of so many items that all of them are more than the largest number of a machine.
MANY = 2**53
NESTED = f"""
component small = llm("SmolLM2-135M-Instruct", max_model_len: 2048)
component made(q: text) -> {"[" * 20}text ~ 5 tokens{f"] ~ {MANY}" * 20} = python("code:made", takes: 1 ms)
component show(it: SHOWN) -> text ~ 5 tokens = small("{{it}}", max_tokens: 20)
pipeline ask(q: text ~ 10 tokens) -> text {{ return show(READ) }}
"""
FLAT = f"{'flatten(' * 19}made(q){')' * 19}"


@pytest.mark.parametrize(
    ("shown", "read", "expected"),
    [
        ("[" * 20 + "text" + "]" * 20, "made(q)", [("E0713", "is expected to send 1e+150 tokens")]),
        ("[text]", f"{FLAT} + {FLAT}", [("E0713", "is expected to send 1e+150 tokens")]),
        ("[text]", f"take(each x in {FLAT}: x, 3)", [("E0715", "a list of 1e+150 items is expected")]),
    ],
)
def test_more_than_a_number_holds_is_refused_as_other_lengths_are(
    tmp_path: Path, shown: str, read: str, expected: list[tuple[str, str]]
) -> None:
    found = refused(tmp_path, NESTED.replace("SHOWN", shown).replace("READ", read))
    assert [code for code, _, _ in found] == [code for code, _ in expected]
    for (_, message, _), (_, words) in zip(found, expected, strict=True):
        assert words in message


TWICE = """
component small = llm("SmolLM2-135M-Instruct", max_model_len: 1024)
component answer(question: text) -> text ~ 40 tokens = small("{question}", max_tokens: 128)
component sure(question: text) -> bool = small("{question}?", max_tokens: 4)
pipeline ask(question: text ~ 20 tokens, report: text ~ LENGTH tokens) -> text {
    brief = answer(question)
    if sure(question) ~ 0.9 { return brief }
    return answer(report)
}
"""


@pytest.mark.parametrize(("tokens", "fits"), [(880, True), (1500, False)])
def test_of_several_calls_the_longest_prompt_must_leave_room(tmp_path: Path, tokens: int, fits: bool) -> None:  # noqa: FBT001
    """One call in eleven sends it, so that the mean would fit."""
    path = tmp_path / "twice.rag"
    path.write_text(TWICE.replace("LENGTH", str(tokens)))
    application = check_files([path]).application
    assert application is not None
    if fits:
        make_plan(application, LAPTOP)
        return
    with pytest.raises(Rejected) as caught:
        make_plan(application, LAPTOP)
    (one,) = caught.value.found
    assert one.code == "E0713"
    assert f"is expected to send {tokens + 16} tokens" in one.message


ANEW = """
component small = llm("SmolLM2-135M-Instruct", max_model_len: 1024)
component answer(question: text) -> text ~ 40 tokens = small("{{question}}", max_tokens: {declared})
pipeline ask(question: text ~ 20 tokens) -> text {{
    return answer(question, max_tokens: {called})
}}
"""


def test_what_a_call_says_anew_is_what_must_have_room(tmp_path: Path) -> None:
    """Where the component says too much, the call may say less, and the other way round."""
    path = tmp_path / "anew.rag"
    path.write_text(ANEW.format(declared=1020, called=64))
    application = check_files([path]).application
    assert application is not None
    make_plan(application, LAPTOP)
    (one,) = refused(tmp_path, ANEW.format(declared=64, called=1020))
    assert one[0] == "E0713"
    assert "is expected to send 36 tokens and may answer with 1020" in one[1]
    assert one[2] == "answer(question, max_tokens: 1020)"


def planned(folder: Path, text: str) -> Application:
    """The optimised application of a source that can be planned."""
    (path := folder / "ask.rag").write_text(text)
    checked = check_files([path])
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    assert make_plan(application, LAPTOP).replicas
    return application


def refused(folder: Path, text: str) -> list[tuple[str, str, str]]:
    """Code, message and marked text of what planning finds in a source that checks."""
    path = folder / "ask.rag"
    path.write_text(text)
    checked = check_files([path])
    assert checked.application is not None, checked.found
    with pytest.raises(Rejected) as caught:
        make_plan(optimise(checked.application), LAPTOP)
    marked = [text[one.span.start : one.span.end] if one.span else "" for one in caught.value.found]
    return [(one.code, one.message, mark) for one, mark in zip(caught.value.found, marked, strict=True)]


WITH_MODEL = """
component base = llm({settings})
component answer(question: text) -> text = base("{{question}}")
pipeline ask(question: text) -> text {{ return answer(question) }}
"""


def test_an_unknown_model_is_refused_where_it_is_named(tmp_path: Path) -> None:
    (one,) = refused(tmp_path, WITH_MODEL.format(settings='"SmolLM-nothing"'))
    assert (one[0], one[2]) == ("E0801", '"SmolLM-nothing"')


def test_an_unknown_revision_is_refused_where_it_is_given(tmp_path: Path) -> None:
    digest = f"local-{'0' * 16}"
    (one,) = refused(tmp_path, WITH_MODEL.format(settings=f'"SmolLM2-135M-Instruct", revision: "{digest}"'))
    assert (one[0], one[2]) == ("E0801", f'"{digest}"')


def test_files_without_a_pipeline_are_no_matter_for_a_plan(tmp_path: Path) -> None:
    small = 'component small = llm("SmolLM2-135M-Instruct")'
    assert [(code, mark) for code, _, mark in refused(tmp_path, f"{small}\n")] == [("E0714", small)]


NEVER = """
component small = llm("SmolLM2-135M-Instruct")
component known(question: text) -> bool = python("app:known")
component answer(question: text) -> text = small("{{question}}")
pipeline ask(question: text ~ 20 tokens) -> text {{
    slo p95 latency <= 5 s
    if known(question) ~ {share} {{ return {then} }}
    return {otherwise}
}}
"""


@pytest.mark.parametrize(
    ("share", "then", "otherwise"), [("1", '"yes"', "answer(question)"), ("0", "answer(question)", '"no"')]
)
def test_what_no_request_reaches_is_placed_and_asked_for_nothing(
    tmp_path: Path, share: str, then: str, otherwise: str
) -> None:
    """The share is only expected: a request may come there after all, and finds a replica."""
    path = tmp_path / "ask.rag"
    path.write_text(NEVER.format(share=share, then=then, otherwise=otherwise))
    checked = check_files([path])
    assert checked.application is not None, checked.found
    plan = make_plan(optimise(checked.application), LAPTOP)
    assert [replica.id for replica in plan.replicas if replica.engine == "small"] == ["small-0"]
    assert plan.utilisation["small"] == 0.0


ENCODED = """
component minilm = embedder("all-MiniLM-L6-v2")
component handbook = milvus("handbook", embedder: minilm, top_k: 4)
component pairs = reranker("bge-reranker-base")
component sentences = reranker("all-MiniLM-L6-v2")
pipeline ask(question: text ~ QUESTION tokens, given: [passage ~ PASSAGE tokens] ~ 3) -> [passage] {
    load 0.01 rps
    return handbook(question) + pairs(question, given) + sentences(question, given)
}
"""


@pytest.mark.parametrize(
    ("question", "passage", "cut"),
    [
        (256, 256, {}),
        (257, 256, {"minilm": CutText(257, 256), "pairs": CutText(513, 512)}),
    ],
)
def test_what_an_encoder_does_not_read_all_of_is_told(
    tmp_path: Path, question: int, passage: int, cut: dict[str, CutText]
) -> None:
    """A reranker reads the question with each passage; an embedding model that reranks does so sentence by sentence."""
    (path := tmp_path / "ask.rag").write_text(
        ENCODED.replace("QUESTION", str(question)).replace("PASSAGE", str(passage))
    )
    application = check_files([path]).application
    assert application is not None
    assert make_plan(optimise(application), LAPTOP).cut == cut


UNLIKE = """
component minilm = embedder("all-MiniLM-L6-v2")
component handbook = milvus("handbook", embedder: minilm, top_k: 4)
component pairs = reranker("bge-reranker-base")
pipeline sort(question: text ~ 20, given: [passage ~ 1500 tokens] ~ 2, more: [passage ~ 100 tokens] ~ 20) -> [passage] {
    load 0.01 rps
    return pairs(question, more + (given + more))
}
pipeline find(long: text ~ 2000 tokens, short: [text ~ 20 tokens] ~ 19) -> [passage] {
    load 0.01 rps
    return fuse(each one in [long] + short: handbook(one), top_k: 3)
}
"""


def test_what_is_cut_is_told_by_the_longest_that_is_known(tmp_path: Path) -> None:
    """In the mean of all that a call is given, nothing would be too long."""
    (path := tmp_path / "ask.rag").write_text(UNLIKE)
    application = check_files([path]).application
    assert application is not None
    cut = make_plan(optimise(application), LAPTOP).cut
    assert cut == {"minilm": CutText(2000, 256), "pairs": CutText(1520, 512)}


PARTS = """
component minilm = embedder("all-MiniLM-L6-v2")
component handbook = milvus("handbook", embedder: minilm, top_k: 4)
component pairs = reranker("bge-reranker-base")
component noted(question: text) -> bool = python("code:noted", takes: 1 ms, pure: false)
pipeline joined(given: [passage ~ 1500 tokens] ~ 1, more: [passage ~ 10 tokens] ~ 30) -> [passage] {
    sure = noted("a question")
    return given + more
}
pipeline ask(question: text ~ QUESTION tokens, given: [passage ~ 1500 tokens] ~ 1, more: [passage ~ 10 tokens] ~ 30)
-> [passage] {
    load 0.01 rps
    VALUE
}
"""
#: Each list is made of the two before it, so that there are very many ways through them.
LISTS = ("a0 = given", "a1 = more", *(f"a{at} = a{at - 2} + a{at - 1}" for at in range(2, 60)))
CHAIN = "\n".join((*LISTS, "return pairs(question, a59)"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("tokens", "value", "cut"),
    [
        # As written, item by item.
        (2000, 'return fuse(each one in [question, "Why?"]: handbook(one), top_k: 3)', {"minilm": CutText(2000, 256)}),
        # What waits for a call that is not pure, and is made of others all the same.
        (20, "return pairs(question, joined(given, more))", {"pairs": CutText(1520, 512)}),
        # Nothing is read of what has no items, not even the question.
        (600, "return pairs(question, each one in more where noted(one.text) ~ 0: one)", {}),
        (
            600,
            "return pairs(question, each one in more where noted(one.text) ~ 0.1: one)",
            {"pairs": CutText(610, 512)},
        ),
        (20, CHAIN, {"pairs": CutText(1520, 512)}),
    ],
    ids=["items", "waits", "empty", "few", "chain"],
)
def test_what_is_cut_is_known_by_what_a_list_is_made_of(
    tmp_path: Path, tokens: int, value: str, cut: dict[str, CutText]
) -> None:
    text = PARTS.replace("QUESTION", str(tokens)).replace("VALUE", value)
    (path := tmp_path / "ask.rag").write_text(text)
    checked = check_files([path])
    assert checked.application is not None, checked.found
    assert make_plan(optimise(checked.application), LAPTOP).cut == cut
