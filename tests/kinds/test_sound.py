"""Data that no kind has is found when a kind of another distribution is loaded; ours have none."""

import math
from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.types import Text
from harmonia_compiler.kinds.kind import Kind, Narrowing, Setting, Signature, Through
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.kinds.sound import Unsound, sound

KIND = kinds()["milvus"]
TWICE = Signature((Port("query", Text()), Port("query", Text())), Text())


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.name)
def test_our_own_kinds_are_sound(kind: Kind) -> None:
    assert sound(kind) == kind


def made(**fields: Any) -> Kind:
    """A kind as a distribution may have it, whatever its fields hold."""
    return replace(KIND, **fields)


def one(**fields: Any) -> tuple[Any, ...]:
    """The settings of a kind and one more."""
    return (*KIND.settings, Setting(**{"name": "a", "type": "text", "doc": "x"} | fields))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"settings": 3}, "its `settings` is a `int`, and no tuple of `Setting`"),
        ({"settings": ({"name": "a"},)}, "number 1 of its `settings` is a `dict`, and no `Setting`"),
        ({"settings": one(type="colour")}, "of its setting `a`, `type` is wrong: invalid enum value 'colour'"),
        ({"settings": one(scope="all")}, "of its setting `a`, `scope` is wrong: invalid enum value 'all'"),
        ({"settings": one(doc=3)}, "of its setting `a`, `doc` is wrong: expected `str`, got `int`"),
        ({"settings": one(doc=one)}, "of its setting `a`, `doc` is wrong: a `function` is no plain data"),
        ({"settings": one(name=3)}, "of its setting `3`, `name` is wrong: expected `str`, got `int`"),
        ({"settings": one(name="a b")}, "of its setting `a b`, `name` is no name of the language"),
        ({"settings": one(required=1)}, "of its setting `a`, `required` is wrong: expected `bool`, got `int`"),
        ({"settings": one(accepts="ab")}, "of its setting `a`, `accepts` is wrong: expected `array`, got `str`"),
        ({"settings": one(pattern="(")}, "of its setting `a`, `pattern` is no regular expression (missing )"),
        ({"settings": one(slip_in="(")}, "of its setting `a`, `slip_in` is a `str`, and no function"),
        ({"settings": one(default=["a"])}, "of its setting `a`, `default` is ['a'], which is no value of type `text`"),
        ({"settings": one(type="bool", default=1)}, "`default` is 1, which is no value of type `bool`"),
        ({"settings": one(type="tokens", default=1.5)}, "`default` is 1.5, which is no value of type `tokens`"),
        ({"settings": one(type="number", minimum="1")}, "`minimum` is wrong: expected `float"),
        ({"settings": one(type="number", maximum=math.nan)}, "a bound is no number"),
        ({"settings": one(type="number", minimum=2, maximum=1)}, "`minimum` is 2, and `maximum` 1"),
        ({"settings": one(type="integer", default=1, minimum=2)}, "`default` is 1, which is out of its bounds"),
        ({"settings": one(type="number", default=math.nan)}, "`default` is nan, which is out of its bounds"),
        (
            {"settings": one(type="integer", default=10**400)},
            "`default` is 10000000000000000000",
        ),
        ({"settings": one(doc="\ud800")}, "of its setting `a`, `doc` is wrong: 'utf-8' codec"),
        ({"settings": one(default="a", accepts=("b",))}, "`default` is 'a', which it does not accept"),
        ({"settings": one(confidential=True)}, "so that nobody could give it"),
        ({"settings": one(name="top_k")}, "it has the setting `top_k` twice"),
        ({"settings": one(name="timeout")}, "it has the setting `timeout` twice, or every kind has it"),
        ({"doc": None}, "its `doc` is wrong: expected `str`, got `null`"),
        ({"unnamed": "nothing"}, "its `unnamed` names `nothing`, and it has no such setting"),
        ({"model_setting": "nothing"}, "its `model_setting` names `nothing`, and it has no such setting"),
        ({"narrowings": (Narrowing("nothing", 1, ()),)}, "its `narrowings` name `nothing`, and it has no such setting"),
        ({"transport": "smoke"}, "its `transport` is wrong: invalid enum value 'smoke'"),
        ({"runs_on": ("tpu",)}, "its `runs_on` is wrong: invalid enum value 'tpu'"),
        ({"runs_on": ()}, "its `runs_on` is empty"),
        ({"signature": Signature(("query",), Text())}, "its `signature` is wrong: expected `object`, got `str`"),  # type: ignore[arg-type]
        ({"signature": TWICE}, "two ports of its `signature` have one name"),
        ({"work": None}, "its `work` is missing"),
        ({"encode": 3}, "its `encode` is a `int`, and no function"),
        ({"probe": 3}, "its `probe` is a `int`, and no function"),
        ({"launch": None}, "it has a `launch` exactly where it is not `external`"),
        ({"external": True}, "it has a `launch` exactly where it is not `external`"),
        ({"decode_many": None}, "it has one of `encode_many` and `decode_many` without the other"),
        ({"through": {"word": Through("embedder")}}, "its `through` of `word` is of no port of its `signature`"),
        ({"through": {"query": Through("metric")}}, "names `metric`, which is no setting for a component"),
        ({"through": {"query": Through("embedder", "words")}}, "has one of `plain` and `wherever` without the other"),
        ({"through": {"query": Through("embedder", "query", "hybrid")}}, "sends to `query` what another port holds"),
        ({"through": {"query": Through("embedder", "words", "metric")}}, "hangs on `metric`, which is no setting that"),
        ({"through": {"query": "embedder"}}, "its `through` is wrong: expected `object`, got `str`"),
    ],
)
def test_what_is_wrong_with_a_kind_is_said(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(Unsound) as found:
        sound(made(**fields))
    assert why in str(found.value)


def test_collections_of_another_type_become_those_that_are_declared() -> None:
    accepted = one(accepts=["b", "c"], default="b")
    loose = made(settings=[*accepted], runs_on=["cpu"], through=MappingProxyType(KIND.through), asked_only={"x"})
    strict = made(settings=one(accepts=("b", "c"), default="b"), asked_only=frozenset({"x"}))
    assert sound(loose) == strict


def test_a_field_that_cannot_be_read_is_said() -> None:
    class Failing(Kind, frozen=True):
        @property  # type: ignore[misc]
        def doc(self) -> str:
            raise ZeroDivisionError("no time")

    fields = {name: getattr(KIND, name) for name in KIND.__struct_fields__ if name != "doc"}
    with pytest.raises(Unsound, match=r"its `doc` cannot be read \(ZeroDivisionError: no time\)"):
        sound(Failing(**fields, doc=""))
