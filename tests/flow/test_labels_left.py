"""Routers that return for some labels, said or not: what is said behind that is of those that are left.

Random ones are run for each label that the value may be, in each round. Of one label nobody speaks, and it never
returns: else shares that come to all that is left would say nothing of the others.
"""

from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from harmonia_compiler.flow import expand

from .test_silent_labels import comes_as, planned

LABELS = "abcde"


class Arm(NamedTuple):
    """A test for some labels, or for all others, and a call; it may ask for a label again and make another one."""

    labels: str
    call: str
    returns: bool = False
    is_negated: bool = False
    inner: str | None = None

    def takes(self, label: str) -> bool:
        return (label in self.labels) != self.is_negated

    def text(self, share: float | None) -> str:
        test = " or ".join(f'v {"!=" if self.is_negated else "=="} "{label}"' for label in self.labels)
        said = "" if share is None else f" ~ {share!r}"
        inner = "" if self.inner is None else f'\n if v == "{self.labels[0]}" {{ y = {self.inner}(y) }}'
        return f"{test}{said} {{ {'return' if self.returns else 'y ='} {self.call}(y){inner} }}"


class Branch(NamedTuple):
    """Arms, and the call that is made otherwise; `often` it stands inside of one on another value, which says that."""

    arms: list[Arm]
    otherwise: str | None = None
    often: float = 1.0

    def taken(self, label: str) -> Arm | None:
        return next((arm for arm in self.arms if arm.takes(label)), None)


class Router:
    """A random one, and how often each of its calls is made."""

    def __init__(self, seed: int) -> None:
        self._random = random = Random(seed)
        self.visits: dict[str, float] = {}
        self._labels = LABELS[: random.randint(3, 5)]
        self._kept = random.choice(self._labels)
        # What returns in a part of the requests tells them apart: of all that returns something is said then.
        self._has_parts = random.random() < 0.4
        self._limit = random.choice([1, 1, 2] if self._has_parts else [1, 1, 2, 5, 8])
        self._branches: list[Branch] = []
        left = self._labels.replace(self._kept, "")
        while left and len(self._branches) < 4:
            self._branches.append(self._branch(left))
            gone = [label for label in left if (arm := self._branches[-1].taken(label)) is not None and arm.returns]
            left = "".join(label for label in left if label not in gone or self._branches[-1].often < 1.0)
        self._branches.append(Branch([Arm(self._kept, self._call())]))
        arms = [arm for branch in self._branches[:-1] for arm in branch.arms if len(arm.labels) == 1]
        self._said = {arm.call for arm in arms if random.random() < 0.5 or (arm.returns and self._has_parts)}
        self._said |= {arms[0].call} if arms and not self._said else set()
        #: Of a value of whose labels nobody says anything each test holds in half of what is left.
        self.is_said = bool(self._said)
        said = sorted({arm.labels for arm in arms if arm.call in self._said})
        weights = [random.randint(1, 6) for _ in range(len(said) + 1)]
        of_each = {label: weight / sum(weights) for label, weight in zip(said, weights, strict=False)}
        rest = (1.0 - sum(of_each.values())) / (len(self._labels) - len(said))
        self._likely = {label: of_each.get(label, rest) for label in self._labels}
        self.text = self._text()

    def _call(self) -> str:
        self.visits[f"w{len(self.visits)}"] = 0.0
        return f"w{len(self.visits) - 1}"

    def _branch(self, labels: str) -> Branch:
        random, pool = self._random, self._random.sample(labels, len(labels))
        often = random.choice([0.2, 0.5, 0.9]) if self._has_parts and random.random() < 0.5 else 1.0
        if random.random() < 0.1:
            return Branch([Arm(pool[0], self._call(), is_negated=True)], None, often)
        arms: list[Arm] = []
        while pool and (not arms or random.random() < 0.6):
            asked = "".join(pool.pop() for _ in range(2 if random.random() < 0.2 and len(pool) > 1 else 1))
            returns = random.random() < 0.4 and (len(asked) == 1 or not self._has_parts)
            inner = self._call() if len(asked) == 2 and not returns and random.random() < 0.5 else None
            arms.append(Arm(asked, self._call(), returns, inner=inner))
        return Branch(arms, self._call() if random.random() < 0.3 else None, often)

    def _text(self) -> str:
        """The program. As it is written, it is run for all that are left of each label."""
        lines, left = list[str](), dict(self._likely)
        for number, branch in enumerate(self._branches):
            all_, texts = sum(left.values()), list[str]()
            for arm in branch.arms:
                share = sum(left[label] for label in left if arm.takes(label)) / all_
                texts.append(arm.text(share if arm.call in self._said else None))
            otherwise = "" if branch.otherwise is None else f" else {{ y = {branch.otherwise}(y) }}"
            text = f"if {' elif '.join(texts)}{otherwise}"
            lines.append(text if branch.often == 1.0 else f"if flag{number}(y) ~ {branch.often} {{ {text} }}")
            for label, many in left.items():
                taken = branch.taken(label)
                made = [branch.otherwise] if taken is None else [taken.call]
                made += [taken.inner] if taken is not None and label == taken.labels[0] else []
                for call in made:
                    if call is not None:
                        self.visits[call] += many * branch.often
                left[label] *= 1.0 - branch.often if taken is not None and taken.returns else 1.0
        on, calls = sum(left.values()), [*self.visits]
        rounds = sum(on**number for number in range(self._limit))
        self.visits = {call: often * rounds for call, often in self.visits.items()} | {"last": on**self._limit}
        head = [
            'component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)',
            f'component label(q: text) -> {" | ".join(map(repr, self._labels))} = small("label {{q}}")'.replace(
                "'", '"'
            ),
            *(f'component flag{at}(q: text) -> bool = small("flag {at} {{q}}")' for at in range(len(self._branches))),
            *(f'component {call}(q: text) -> text = small("{{q}} {call}")' for call in (*calls, "step", "last")),
            "pipeline p(q: text ~ 9 tokens) -> text {",
            "y = q",
        ]
        body = ["v = label(y)", *lines]
        loop = body if self._limit == 1 else [f"repeat up to {self._limit} {{", "y = step(y)", *body, "}"]
        return "\n".join((*head, *loop, "return last(y)", "}"))


def agrees(seed: int, folder: Path) -> None:
    router = Router(seed)
    if not router.is_said:
        return
    comes_as(router.text, router.visits, folder, f"seed {seed}")


@pytest.fixture(autouse=True)
def _every_round_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds are told apart that next to no request reaches, which else stand for each other."""
    monkeypatch.setattr(expand, "NEGLIGIBLE", 1e-12)


# In the last ones the table has a part of what is said, since the rest hangs on a value that tells requests apart.
@pytest.mark.parametrize("seed", [*range(30), 1_076, 3_360, 3_484])
def test_what_is_said_of_labels_is_of_those_that_are_left(seed: int, tmp_path: Path) -> None:
    agrees(seed, tmp_path)


@pytest.mark.slow
def test_in_many_more_it_is(tmp_path: Path) -> None:
    for seed in range(2_000, 3_000):
        agrees(seed, tmp_path)


DESK = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component route(q: text) -> "billing" | "tech" | "smalltalk" | "other" = small("route {q}")
component tickets(q: text) -> text = small("tickets {q}")
component chat(q: text) -> text = small("chat {q}")
component search(q: text) -> text = small("search {q}")
component archive(q: text) -> text = small("archive {q}")
component answer(q: text) -> text = small("answer {q}")
pipeline desk(q: text ~ 20 tokens) -> text {
    topic = route(q)
    found = q
    ARMS
    return answer(found)
}
"""
BILLING = 'if topic == "billing" { found = tickets(q) }'
CHAT = 'if topic == "smalltalk" ~ 0.4 { return chat(q) }'
BEHIND = """
    if topic == "tech" ~ 0.8 { found = search(q) }
    if topic == "other" { found = archive(q) }
"""


@pytest.mark.parametrize("arms", [f"{BILLING} el{CHAT}", f"{CHAT} el{BILLING}"])
def test_the_order_of_arms_does_not_decide(arms: str, tmp_path: Path) -> None:
    visits = planned(DESK.replace("ARMS", arms + BEHIND), tmp_path).visits
    assert visits["search"] == pytest.approx(0.48)
    assert (visits["tickets"], visits["archive"]) == pytest.approx((0.06, 0.06))


def test_shares_of_all_that_is_left_say_nothing_of_what_has_returned(tmp_path: Path) -> None:
    arms = """
    if topic == "other" { return chat(q) }
    if topic == "billing" ~ 0.33 { found = tickets(q) }
    if topic == "smalltalk" ~ 0.33 { found = archive(q) }
    if topic == "tech" ~ 0.33 { found = search(q) }
"""
    visits = planned(DESK.replace("ARMS", arms), tmp_path).visits
    assert visits["chat"] == pytest.approx(0.25)
