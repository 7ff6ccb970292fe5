"""Shares that are said of several labels at once, of the last arm of a branch, and of all that returning ones leave.

Random routers are held against how often each label comes, which is drawn first: those of which something is said
together as often as each other, and likewise those of which nothing is said.
"""

from pathlib import Path
from random import Random

import pytest

from .test_labels_left import DESK
from .test_silent_labels import comes_as, planned

LABELS = "abcdef"


class Router:
    """A random one, and how often each of its calls is made."""

    def __init__(self, seed: int) -> None:
        self._random = random = Random(seed)
        labels = random.sample(LABELS, random.randint(4, 6))
        many = random.randint(0, 2)
        silent, spoken = labels[:many], labels[many:]
        together = random.sample(spoken, random.choice([0, 0, *range(2, len(spoken))]))
        #: The labels of which something is said together.
        self._groups = [label for label in spoken if label not in together] + ["".join(together)] * bool(together)
        # All labels of which nothing is said return at first, or none.
        self._returning = "".join(silent) if random.random() < 0.5 else ""
        left = 1.0 - len(silent) / len(labels) if self._returning else random.uniform(0.3, 0.9) if silent else 1.0
        weights = [random.randint(1, 6) for _ in self._groups]
        of_group = {group: left * weight / sum(weights) for group, weight in zip(self._groups, weights, strict=True)}
        self._likely = dict.fromkeys(silent, (1.0 - left) / max(1, len(silent)))
        self._likely |= {label: of_group[group] / len(group) for group in self._groups for label in group}
        self.visits: dict[str, float] = {}

    def text(self, seed: int) -> str:
        """The program, in one of several orders."""
        random, left = Random(seed), dict(self._likely)
        lines = [self._branch([(self._returning, False)], left, returns=True)] if self._returning else []
        of_left = [(label, False) for label in left] + [(group, True) for group in self._groups if len(group) > 1]
        of_left = [(labels, labels in self._groups) for labels, _ in random.sample(of_left, len(of_left))]
        while of_left:
            # Arms of one branch ask for labels of their own.
            arms = [of_left.pop()]
            for labels, is_said in of_left if random.random() < 0.5 else ():
                if random.random() < 0.5 and not {*labels} & {*"".join(each for each, _ in arms)}:
                    arms.append((labels, is_said))
            of_left = [one for one in of_left if one not in arms]
            lines.append(self._branch(random.sample(arms, len(arms)), left))
        if random.random() < 0.5 and len(self._groups) > 1 and len(left) == sum(map(len, self._groups)):
            arms = [(group, True) for group in random.sample(self._groups, len(self._groups))]
            lines.append(self._branch(arms, left))
        calls = [*self.visits]
        labels = " | ".join(f'"{label}"' for label in random.sample([*self._likely], len(self._likely)))
        return "\n".join(
            (
                'component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)',
                f'component label(q: text) -> {labels} = small("label {{q}}")',
                *(f'component {call}(q: text) -> text = small("{{q}} {call}")' for call in calls),
                "pipeline p(q: text ~ 9 tokens) -> text {",
                "y = q",
                "v = label(q)",
                *lines,
                "return y",
                "}",
            )
        )

    def _branch(self, arms: list[tuple[str, bool]], left: dict[str, float], *, returns: bool = False) -> str:
        """One that asks for each of some labels, in arms of which shares are said or not; of those that are left."""
        all_, texts = sum(left.values()), list[str]()
        for labels, is_said in arms:
            often, call = sum(left[label] for label in labels), f"{'r' if returns else 'w'}{len(self.visits)}"
            self.visits[call] = often
            test = " or ".join(f'v == "{label}"' for label in labels)
            said = f" ~ {often / all_!r}" if is_said else ""
            texts.append(f"{test}{said} {{ {'return' if returns else 'y ='} {call}(y) }}")
        for label in "".join(labels for labels, _ in arms) if returns else "":
            del left[label]
        return f"if {' elif '.join(texts)}"


def agrees(seed: int, folder: Path) -> None:
    for order in range(3):
        router = Router(seed)
        comes_as(router.text(order), router.visits, folder, f"seed {seed}, {order}")


@pytest.mark.parametrize("seed", range(30))
def test_whatever_stands_first(seed: int, tmp_path: Path) -> None:
    agrees(seed, tmp_path)


@pytest.mark.slow
def test_in_many_more_routers(tmp_path: Path) -> None:
    for seed in range(1_000, 1_500):
        agrees(seed, tmp_path)


def test_a_branch_for_all_that_is_left_tells_nothing_of_what_it_has_inside(tmp_path: Path) -> None:
    arms = """
    if topic == "smalltalk" or topic == "other" { return chat(q) }
    if topic == "billing" ~ 0.4 { found = archive(q) }
    if topic == "tech" or topic == "billing" {
        if topic == "tech" ~ 0.6 { found = search(found) } else { found = tickets(found) }
    }
"""
    visits = planned(DESK.replace("ARMS", arms), tmp_path).visits
    assert visits["chat"] == pytest.approx(0.5)
    assert (visits["tickets"], visits["search"]) == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize(
    "test", ['topic != "billing" and topic != "tech"', 'not (topic == "billing" or topic == "tech")']
)
def test_labels_that_it_is_not_come_evenly(test: str, tmp_path: Path) -> None:
    arms = f"""
    if {test} and topic != "other" ~ 0.1 {{ return chat(q) }}
    if topic == "billing" {{ found = tickets(q) }} elif topic == "tech" {{ found = search(q) }}
    else {{ found = archive(q) }}
"""
    visits = planned(DESK.replace("ARMS", arms), tmp_path).visits
    assert (visits["tickets"], visits["search"], visits["archive"]) == pytest.approx((0.3, 0.3, 0.3))


def test_a_last_arm_of_a_field_is_for_its_labels_evenly(tmp_path: Path) -> None:
    arms = """
    parts = read(q)
    if parts.topic == "smalltalk" ~ 0.4 { return chat(q) }
    elif parts.topic == "a" or parts.topic == "b" ~ 0.6 { found = archive(q) }
    if parts.topic == "a" { found = search(found) } else { found = tickets(found) }
"""
    fields = 'component read(q: text) -> (topic: "smalltalk" | "a" | "b", why: text) = small("read {q}")\npipeline'
    text = DESK.replace("ARMS", arms).replace("pipeline", fields, 1)
    visits = planned(text, tmp_path).visits
    assert (visits["search"], visits["tickets"]) == pytest.approx((0.3, 0.3))
