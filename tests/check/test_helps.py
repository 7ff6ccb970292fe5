"""The next step that a finding offers is the one that mends it."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files

HEAD = """
component f(q: text) -> text = python("m:f")
component ok(q: text) -> bool = python("m:ok")
component kind(q: text) -> "none" | "one" | "many" = python("m:kind")
component answer(question: text, passages: [passage]) -> text = python("m:answer")
component search(q: text) -> [passage] = python("m:search")
component texts(q: text) -> (a: text, b: [text]) = python("m:texts")
component grade(q: text) -> (a: text, fine: bool) = python("m:grade")
component sort(q: text) -> (a: text, kind: "a" | "b") = python("m:sort")
component rated(r: (name: text, n: number)) -> text = python("m:rated")
component many(n: number) -> text = python("m:many")
component brief(style: text = "short", passages: [passage]) -> text = python("m:brief")
component base = llm("m")
component model(question: text, style: text = "") -> text = base("{question} {style}")
component minilm = embedder("all-MiniLM-L6-v2")
component docs = milvus("docs", embedder: minilm)
class slow(deadline: 3 s)
"""

LET = "let a component answer a bool or a label about it, and test that"
INSTEAD = "what is taken where a call fails stands behind `else`:"

HELPS = {
    "a record that is given in another order": (
        "return rated((n: 3, name: q))",
        "write its parts in this order: `name`, `n`",
    ),
    "what stands behind a port that is left out": (
        "return brief(search(q))",
        "give it its name: `passages: search(q)`",
    ),
    "a label that an arm before has taken": (
        'k = kind(q)\nif k == "none" { return q } elif k == "none" { return q }\nreturn q',
        "the tests before have taken it: delete this one, or compare with another label",
    ),
    "a label that the block has left no room for": (
        'k = kind(q)\nif k == "none" {\nif k == "many" { return q }\n}\nreturn q',
        "the tests before have taken it: delete this one, or compare with another label",
    ),
    "a list as a test": ("x = search(q)\nif x { return q }\nreturn q", "compare how many it holds: `count(x) > 0`"),
    "a number as a test": (
        "if count(search(q)) { return q }\nreturn q",
        "compare it with a number: `count(search(q)) > 0`",
    ),
    "a passage as a test": (
        "if not p { return q }\nreturn q",
        "compare one of its fields with a number: `p.score > 0`",
    ),
    "a message as a test": (
        "if m { return q }\nreturn q",
        LET,
    ),
    "a record of texts as a test": (
        "if texts(q) { return q }\nreturn q",
        LET,
    ),
    "a record with a bool as a test": ("x = grade(q)\nif x { return q }\nreturn q", "test one of its fields: `x.fine`"),
    "a record with a label as a test": (
        "x = sort(q)\nif x { return q }\nreturn q",
        'compare one of its fields: `x.kind == "a"`',
    ),
    "a record with a label of it": (
        'x = sort(q)\nif x != "b" { return q }\nreturn q',
        'compare one of its fields: `x.kind != "b"`',
    ),
    "a record with no label of it": (
        'x = sort(q)\nif x == "c" { return q }\nreturn q',
        "labels, numbers and bools can be compared with their like",
    ),
    "a label that may come late as a test": (
        "if not (kind(q) within 1 s) { return q }\nreturn q",
        'compare it: `(kind(q) within 1 s) == "none"`',
    ),
    "a field of what is asked as a test": (
        'x = grade("compare it")\nif sort("compare it") { return q }\nreturn q',
        'compare one of its fields: `sort("compare it").kind == "a"`',
    ),
    "a label alone beside a comparison": (
        'k = kind(q)\nif k == "none" or "one" { return q }\nreturn q',
        'compare with each: `k == "one"`',
    ),
    "a label alone behind another one": (
        'if kind(q) == "none" or ok(q) or "one" { return q }\nreturn q',
        'compare with each: `kind(q) == "one"`',
    ),
    "a label alone beside what is not it": (
        'k = kind(q)\nif k != "none" and "one" { return q }\nreturn q',
        'compare with each: `k != "one"`',
    ),
    "a label alone behind what is not another one": (
        'k = kind(q)\nif k != "none" or "one" { return q }\nreturn q',
        'compare with each: `k != "none" and k != "one"`',
    ),
    "not a label alone": (
        'k = kind(q)\nif k != "none" and not "one" { return q }\nreturn q',
        'compare with each: `k == "one"`',
    ),
    "a label alone behind not": (
        'k = kind(q)\nif not k == "none" and "one" { return q }\nreturn q',
        'compare with each: `not k == "one"`',
    ),
    "a label alone where the other stands first": (
        'k = kind(q)\nif ok(q) and ("none" == k) or "one" { return q }\nreturn q',
        'compare with each: `"one" == k`',
    ),
    "a label alone beside another, of which it is both": (
        'k = kind(q)\nif k == "none" and "one" { return q }\nreturn q',
        'compare with each: `(k == "none" or k == "one")`',
    ),
    "a label alone that there is not": (
        'k = kind(q)\nif k == "none" or "two" { return q }\nreturn q',
        'compare with each: `k == "one"`; "two" is not in `"none" | "one" | "many"`',
    ),
    "a label alone with a slip": (
        'k = kind(q)\nif not k != "none" or not "mani" { return q }\nreturn q',
        'compare with each: `k == "many"`; "mani" is not in `"none" | "one" | "many"`',
    ),
    "a label alone that an arm before has taken": (
        'k = kind(q)\nif k == "none" { return q } elif k == "one" or "none" { return q }\nreturn q',
        'compare with each: `k == "many"`; "none" is not in `"one" | "many"`',
    ),
    "a number alone beside a label": (
        'if kind(q) == "none" or 1 { return q }\nreturn q',
        'compare with each: `kind(q) == "one"`; 1 is not in `"none" | "one" | "many"`',
    ),
    "a label alone beside a number": (
        'n = count(search(q))\nif n == 1 or "one" { return q }\nreturn q',
        'compare with each: `n == 0`; "one" is no `number`',
    ),
    "a label alone beside a bool": (
        'if ok(q) == true or "one" { return q }\nreturn q',
        'compare with each: `ok(q) == true`; "one" is no `bool`',
    ),
    "a label alone beside free text": (
        'if q == "none" or "one" { return q }\nreturn q',
        'declare labels for it, such as `-> "yes" | "no"`, and compare with one of them',
    ),
    "several labels to compare free text with": (
        'if q == ("none" or "one") { return q }\nreturn q',
        'declare labels for it, such as `-> "yes" | "no"`, and compare with one of them',
    ),
    "several labels, all of which it is to be": (
        'k = kind(q)\nif k == ("none" and "one") { return q }\nreturn q',
        'compare with each: `(k == "none" or k == "one")`',
    ),
    "several labels of which there is not one": (
        'k = kind(q)\nif k != ("none" or "two") { return q }\nreturn q',
        'compare with each: `(k != "none" and k != "one")`; "two" is not in `"none" | "one" | "many"`',
    ),
    "a list of labels": (
        'k = kind(q)\nif k == ["none", "one"] { return q }\nreturn q',
        'compare with each: `(k == "none" or k == "one")`',
    ),
    "a long list of numbers": (
        f"n = count(search(q))\nif n == {[*range(9)]} {{ return q }}\nreturn q",
        f"compare with each: `({' or '.join(f'n == {n}' for n in range(8))} or …)`",
    ),
    "a list of numbers that it is not": (
        "n = count(search(q))\nif n != [1, 2] { return q }\nreturn q",
        "compare with each: `(n != 1 and n != 2)`",
    ),
    "a list of names": (
        'k = kind(q)\nif k == ["none", q] { return q }\nreturn q',
        "labels, numbers and bools can be compared with their like",
    ),
    "two labels at once": (
        'k = kind(q)\nif ok(q) and k == "none" and not (k != "one") { return q }\nreturn q',
        "it is never both: put `or` between the two, in `( )`",
    ),
    "not one of two labels": (
        'k = kind(q)\nif k != "none" or ok(q) or "one" != k { return q }\nreturn q',
        "one of the two always holds: put `and` between them",
    ),
    "not one of two labels of a field": (
        'x = sort(q)\nif x.kind != "a" or x.kind != "b" { return q }\nreturn q',
        "one of the two always holds: put `and` between them",
    ),
    "two numbers at once": (
        "n = count(search(q))\nxs = each x in [q] where n == 1 and n == 2: x\nreturn q",
        "it is never both: put `or` between the two, in `( )`",
    ),
    "all labels of a field": (
        'x = sort(q)\nif x.kind == "a" { return q } elif ok(q) { return q } elif x.kind == "b" { return q }',
        "bind the field to a name and test that: of names alone it is known that tests take every label",
    ),
    "all labels of a field at once": (
        'x = sort(q)\nif ok(q) { x = sort("") }\nif not (x.kind != "a" and x.kind != "b") { return q }',
        "bind the field to a name and test that: of names alone it is known that tests take every label",
    ),
    "not all labels of a field": (
        'x = sort(q)\nif x.kind == "a" { return q } elif sort("").kind == "b" { return q }',
        "end every path with `return` and a `text`",
    ),
    "milliseconds": ("return f(q) within 800 milliseconds else q", "did you mean `ms`?"),
    "requests": ("load 10 requests\nreturn q", "did you mean `rps`?"),
    "words for a duration": ("return f(q) within 8 words else q", "a duration is in `ms`, `s`, `min`, `h`: `2 s`"),
    "words for tokens": ("return model(q, max_tokens: 10 words)", "write `13 tokens`"),
    "a letter for tokens": ("return model(q, max_tokens: 1 char)", "write `1 tokens`"),
    "a name in braces in a setting": (
        "x = docs(q, filter: \"source == '{q}'\")\nreturn answer(q, x)",
        "this text is the same for every call: leave `{q}` out, and give `q` to a port of a component",
    ),
    "a number alone beside a comparison": (
        "if count(search(q)) == 3 or 4 { return q }\nreturn q",
        "compare with each: `count(search(q)) == 4`",
    ),
    "several labels to compare with": (
        'k = kind(q)\nif k == ("none" or "one") and ok(q) { return q }\nreturn q',
        'compare with each: `(k == "none" or k == "one")`',
    ),
    "several labels that it is not": (
        'k = kind(q)\nif k != ("none" or "one") { return q }\nreturn q',
        'compare with each: `(k != "none" and k != "one")`',
    ),
    "a text where a call gives none": (
        'x = f(q) or "none"\nreturn x',
        f'{INSTEAD} `f(q) else "none"`',
    ),
    "a text where a port holds none": (
        'return f(q or "none")',
        "no value is ever missing: leave out `or` and what stands behind it",
    ),
    "a list where another is empty": (
        "x = search(q) or []\nreturn q",
        f"{INSTEAD} `search(q) else []`; whether a list is empty is a test, `count(search(q)) == 0`",
    ),
    "a label alone": ('if "one" { return q }\nreturn q', 'compare a value with it: `name == "one"`'),
    "a vector as a test": (
        "if v { return q }\nreturn q",
        LET,
    ),
    "a peak below the load": (
        "load 20 rps peak 10 rps\nreturn q",
        "the peak is the highest rate that you expect for a while: write one of 20 rps or more, or none",
    ),
    "a passage's source in a test": (
        'x = each y in search(q) where y.source != "b.md": y\nreturn q',
        f"let a search find such alone: `filter: \"source != 'b.md'\"`; or {LET}",
    ),
    "a passage's text beside a port": (
        "if q == p.text { return q }\nreturn p.text",
        'declare labels for it, such as `-> "yes" | "no"`, and compare with one of them',
    ),
    "a passage's text that is a port's": (
        "if p.text == q { return q }\nreturn q",
        f"let a search find such alone: `filter: \"text == 'a.md'\"`; or {LET}",
    ),
    "a message's role in a test": (
        'if m.role == "user" { return q }\nreturn q',
        LET,
    ),
    "a field of a record in a test": (
        'if texts(q).a == "" { return q }\nreturn q',
        'declare labels for it, such as `-> "yes" | "no"`, and compare with one of them',
    ),
    "a bool as a text": (
        'if ok(q) == "true" { return q }\nreturn q',
        "it is a test by itself: `ok(q)`, or `not ok(q)`",
    ),
    "a bool as a number": ("if ok(q) != 1 { return q }\nreturn q", "it is a test by itself: `ok(q)`, or `not ok(q)`"),
    "a port for a setting": (
        "n = count(search(q))\nx = docs(q, top_k: n)\nreturn answer(q, x)",
        "write what it is: a setting takes no value of a pipeline; `top_k`: how many passages to find",
    ),
    "a field for a setting": (
        "return model(q, temperature: p.score)",
        "write what it is: a setting takes no value of a pipeline; `temperature`: 0 takes the likeliest token",
    ),
    "a port for a word that a setting takes": (
        "never = q\nreturn f(q, pure: never)",
        "write what it is: a setting takes no value of a pipeline; `pure`: whether a call may be repeated or merged",
    ),
    "a word for a text": ("return model(q, stop: end)", 'write it in quotes: `"end"`'),
    "another language's value for a setting": ("return model(q, stop: null)", "leave `stop` out where it says nothing"),
    "another language's truth for a setting": ("return f(q, pure: False)", "write `false`"),
    "a duration in thousands": ("return f(q) within 800 else q", "write `800 ms`"),
    "a duration of a few": ("return f(q) within 2 else q", "write `2 s`"),
    "a bound in thousands": ("slo p95 latency <= 4000\nreturn q", "write `4000 ms`"),
    "a bound of a few": ("slo p95 latency <= 99\nreturn q", "write `99 s`"),
    "a part of a record that is streamed": (
        "x = (a: model(q), b: q)\nreturn stream x.a",
        "what is taken out of another value leaves as one piece; delete `stream`",
    ),
    "a function's text that is streamed": (
        "return stream f(q)",
        "only the text of a language model's call can, and here is none; delete `stream`",
    ),
    "a text that is streamed": (
        'return stream "so"',
        'only free text can, and this is `"so"`, which leaves as one piece; delete `stream`',
    ),
    "a label with a slip": ('if kind(q) == "mani" { return q }\nreturn q', 'did you mean "many"?'),
    "a share that is no percentage": ("if ok(q) ~ 1.1 { return q }\nreturn q", "write a number such as `~ 0.3`"),
    "a share in percent": ("if ok(q) ~ 30 { return q }\nreturn q", "write `~ 0.3`"),
    "one percent, or the whole": ("if ok(q) ~ 1.5 { return q }\nreturn q", "write a number such as `~ 0.3`"),
    "a fallback for a port": ('x = q else "x"\nreturn x', "delete `else`"),
    "a fallback for an item": ("xs = each x in [q]: x else q\nreturn f(q) else q", "delete `else`"),
    "a fallback for what is bound elsewhere": ("x = f(q)\ny = x else q\nreturn y", "write it where `x` is bound"),
    "a time for a port": ("return q within 1 s", "delete `within`"),
    "a function as a value": ("x = count\nreturn q", "call it: `count(…)`"),
    "a message where its text is wanted": ("return f(m)", "take a part of it: `m.text`"),
    "a passage where its text is wanted": ("return f(p)", "take a part of it: `p.text`"),
    "a list as nothing": (
        "x = search(q)\nif x == [] { return q }\nreturn q",
        "compare how many it holds: `count(x) == 0`",
    ),
    "a list as a number": (
        "x = search(q)\nif x > 3 { return q }\nreturn q",
        "compare how many it holds: `count(x) > 3`",
    ),
    "a list as another": (
        "x = search(q)\nif x == x { return q }\nreturn q",
        "labels, numbers and bools can be compared with their like",
    ),
    "a sum of numbers": (
        "n = count(search(q))\nmore = n + 1\nreturn q",
        "there is no arithmetic: let a component give the number",
    ),
    "another language's function": ("n = len(search(q))\nreturn q", "did you mean `count`?"),
    "another language's value": ("x = None\nreturn q", 'there is no empty value: write `""` or `[]`'),
    "another language's truth": ("x = True\nreturn q", "write `true`"),
    "a difference of numbers": (
        "n = count(search(q))\nmore = n-1\nreturn q",
        "there is no arithmetic, and a name has `_` in place of `-`",
    ),
    "a component with a hyphen": ("return re-phrase(q)", "declare it: `component re_phrase(…) -> … = …`"),
    "a value with a hyphen": ("long_q = f(q)\nreturn long-q", "did you mean `long_q`?"),
    "a rate by the hour": ("load 72 rph\nreturn q", "write `0.02 rps`"),
    "days": ("return f(q) within 2 days", "write `48 h`"),
    "a list of lists for a list": (
        "xs = each x in [q]: search(x)\nreturn answer(q, xs)",
        "call `flatten(xs)` or `fuse(xs)`",
    ),
    "a list for a number": ("return many(search(q))", "call `count(search(q))`"),
    "a class as a value": (
        "if u == slow { return q }\nreturn q",
        'a class is compared by its name in quotes: `"slow"`',
    ),
    "a field of a list": (
        "return search(q).text",
        "its items may: `each` goes over them, `count` and `take` are called with the list",
    ),
    "rounds with a unit": (
        "x = q\nrepeat up to 3 times { x = f(x) }\nreturn x",
        "delete it: a whole number has no unit",
    ),
    "a base that nobody can call": ("return base2(q)", "declare it: `component base2(…) -> … = …`"),
    "swapped arguments of a function": (
        "x = take(5, search(q))\nreturn answer(q, x)",
        "swap the values of `list` and `count`",
    ),
    "several lists for a function of one": (
        "return answer(q, fuse(search(q), search(f(q))))",
        "put what several searches find into one list: `fuse([search(a), search(b)])`",
    ),
    "several lists and a number for a function of one": (
        "return answer(q, fuse(search(q), search(f(q)), search(q), top_k: 3))",
        "put what several searches find into one list: `fuse([search(a), search(b)])`",
    ),
    "a number that is given by its name": (
        "n = count(search(q))\nreturn answer(q, take(search(q), count: n))",
        "write the number itself: how many of the first items are kept at most",
    ),
    "a text that is joined to a list of such": (
        "xs = texts(q).b + f(q) + [q]\nreturn q",
        "make it a list: `[f(q)]`",
    ),
    "a number before a list of such": (
        "n = count(search(q))\nxs = n + [1]\nreturn q",
        "make it a list: `[n]`",
    ),
    "a text that is joined to an empty list": ("xs = [] + q\nreturn q", "make it a list: `[q]`"),
    "a text that is joined to a list of others": ("xs = search(q) + q\nreturn q", "put texts together in a prompt"),
    "a list among its items": ("xs = [q, texts(q).b]\nreturn q", "`+` joins lists: `list + [value]`"),
    "an item behind its list": ("xs = [texts(q).b, f(q)]\nreturn q", "`+` joins lists: `list + [value]`"),
    "a list among others' items": ("xs = [search(q), f(q)]\nreturn q", "all items of a list have one type"),
    "a list for an item": (
        "subs = texts(q).b\nxs = answer(subs, search(q))\nreturn q",
        "call it with each item: `each item in subs: answer(item, search(q))`",
    ),
    "a list that `each` makes for an item": (
        "subs = texts(q).b\nxs = f(each x in subs: f(x))\nreturn q",
        "call it with each item: `each item in (each x in subs: f(x)): f(item)`",
    ),
    "a list for an item in a long call": (
        "subs = texts(q).b\nxs = answer(subs, passages: search(f(f(f(f(q))))))\nreturn q",
        "call it with each item: `each item in subs: answer(…)`",
    ),
    "a number in quotes": ('if count(search(q)) > "3" { return q }\nreturn q', "write `3`"),
    "not one of two labels, and tests behind": (
        'k = kind(q)\nif k != "none" or k != "one" { return q }\nif k == "many" { return f(q) }\nreturn q',
        "one of the two always holds: put `and` between them",
    ),
    "a label that is left no room for, and tests behind": (
        'k = kind(q)\nif not k == "none" or k == "one" { return q }\nif k == "many" { return f(q) }\nreturn q',
        "the tests before have taken it: delete this one, or compare with another label",
    ),
    "a text that joins a list in a loop": (
        "xs = [q]\nrepeat up to 3 {\nn = f(q)\nxs = xs + n\nq = n\n}\nreturn many(count(xs))",
        "make it a list: `[n]`",
    ),
    "a list in a list that joins one": (
        "return answer(q, [search(q)] + search(q))",
        "join the list itself: write `search(q)`, without the brackets",
    ),
    "a list that joins lists": (
        "x = each one in [q]: search(one)\ny = x + search(q)\nreturn answer(q, flatten(y))",
        "make it an item of the list: `[search(q)]`",
    ),
    "swapped arguments": (
        "return answer(search(q), q)",
        "swap the values of `question` and `passages`: each fits the other",
    ),
}


@pytest.mark.parametrize("what", HELPS)
def test_a_finding_offers(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body, help = HELPS[what]
    Path("a.rag").write_text(
        HEAD + f"pipeline p(q: text, m: message, p: passage, v: vector, u: class) -> text {{\n{body}\n}}\n"
    )
    found = [item for item in check_files([Path("a.rag")]).found if item.code not in ("W0202", "W0203")]
    assert [item.help for item in found] == [help]


def test_a_record_in_another_order_is_told_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.rag").write_text("pipeline p(q: text) -> (a: text, b: number) { return (b: 1, a: q) }\n")
    (found,) = check_files([Path("a.rag")]).found
    assert (found.code, found.help) == ("E0313", "write its parts in this order: `a`, `b`")


def test_blocks_that_nest_too_deep_are_told_to_become_a_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = "if ok(q) {\n" * 70 + "}\n" * 70
    Path("a.rag").write_text(f"{HEAD}pipeline p(q: text) -> text {{\n{blocks}return q\n}}\n")
    (found,) = (item for item in check_files([Path("a.rag")]).found if item.is_error)
    assert (found.code, found.help) == ("E0107", "move inner blocks into a pipeline of their own, and call it")


def test_a_streamed_record_is_told_that_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.rag"
    file.write_text(
        'component small = llm("m")\ncomponent c(q: text) -> text = small("{q}")\n'
        "pipeline p(q: text) -> (a: text, b: text) { return stream (a: c(q), b: q) }\n"
    )
    (found,) = (item for item in check_files([file]).found if item.is_error)
    assert found.code == "E0404"
    assert found.help.startswith("only free text can, and this is `(a: text, b: text)`, which leaves as one piece")


_LONG = "(question: q, answer: f(q), sources: [q], grade: kind(q), done: {})"
_ONE, _OTHER = _LONG.format("true"), _LONG.format("3")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (f"if ok(q) {{ r = {_ONE} }} else {{ r = {_OTHER} }}\nreturn r.answer", "E0311"),
        (f"r = {_ONE}\nrepeat up to 3 {{ r = {_OTHER} }}\nreturn r.answer", "E0324"),
        (f"r = {_ONE[:-1]}, x: [])\nrepeat up to 3 {{ r = {_ONE[:-1]}, x: [r.x]) }}\nreturn r.answer", "E0324"),
        (f"r = [{_ONE}, {_OTHER}]\nreturn q", "E0315"),
        (f"r = [[{_ONE}], [{_OTHER}]]\nreturn q", "E0315"),
        (f"r = [{_ONE}] + [{_OTHER}]\nreturn q", "E0315"),
        (f"r = {_ONE} else {_OTHER}\nreturn q", "E0325"),
        (f"r = (all: {_ONE}) else (all: {_OTHER})\nreturn q", "E0325"),
        (f"r = {_ONE} else {_ONE[: _ONE.index('done')]}over: true)\nreturn q", "E0325"),
    ],
)
def test_types_that_are_cut_alike_are_told_apart(
    body: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.rag").write_text(f"{HEAD}pipeline p(q: text) -> text {{\n{body}\n}}", encoding="utf-8")
    (found,) = (item for item in check_files([Path("a.rag")]).found if item.is_error)
    assert found.code == code
    one, other = (part for part in found.message.split("`") if "…" in part)
    assert one != other
    assert "done: " in one + other or "x: " in one + other
