"""Inventories: what is read, and what is said about each mistake, with its line."""

import math
import os
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.hostlist import HostlistError, TooManyHosts, expand
from harmonia_compiler.contract.inventory import MOST_HOSTS, Gpu, Host, Inventory, load_inventory, parse_inventory
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.diagnostics.source import Source

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "inventories"

BOX = "cpus = 4\nmemory_gib = 16\n"


def read(text: str) -> Inventory:
    return parse_inventory(Source("machines.toml", text))


def test_of_a_range_of_too_many_hosts_the_limit_is_said() -> None:
    with pytest.raises(Rejected) as caught:
        parse_inventory(Source("i.toml", f'[[hosts]]\nname = "a[0-99999999999]"\n{BOX}'))
    assert [item.help for item in caught.value.found] == [
        "an inventory has 4,096 hosts at most: plan for a part of them"
    ]


def test_ranges_are_written_out_and_keep_their_zeros() -> None:
    inventory = read(
        '[[hosts]]\nname = "gpu[01-03,10]"\ncpus = 64\nmemory_gib = 512.5\n'
        'gpus = [{type = "h100_sxm", count = 8}]\nprice_per_hour = 12\nlabels = {zone = "a"}\n'
    )
    assert [host.name for host in inventory.hosts] == ["gpu01", "gpu02", "gpu03", "gpu10"]
    assert inventory.hosts[3] == Host("gpu10", 64, 512.5, (Gpu("h100_sxm", 8),), 12.0, labels={"zone": "a"})


def test_tables_may_be_written_in_every_way_that_toml_has() -> None:
    inventory = read(
        '[[hosts]]\n"name" = "a"\ncpus = 4\nmemory_gib = 16\n[[hosts.gpus]]\ntype = "l4"\n[hosts.labels]\nzone = "b"\n'
    )
    assert inventory.hosts == (Host("a", 4, 16.0, (Gpu("l4", 1),), labels={"zone": "b"}),)


MISTAKES = {
    f'[[hosts]]\nname = "a"\n{BOX}processor = 3\n': [("E0704", 5, "`processor` is the name")],
    f'[[hosts]]\nname = "a"\n{BOX}bf16 = "no"\n': [("E0704", 5, "`bf16` is `true` or `false`")],
    "hosts = 3\n": [("E0703", 1, "lists its machines")],
    "": [("E0703", 1, "lists its machines")],
    '[[host]]\nname = "a"\n': [("E0703", 1, "`host`"), ("E0703", 1, "lists its machines")],
    f'[[hosts]]\nname = "a"\n{BOX}cpu = 4\n': [("E0703", 5, "`cpu` is no key")],
    f"# one\n\n[[hosts]]\n{BOX}": [("E0704", 3, "`name` is missing")],
    '[[hosts]]\nname = "a"\ncpus = "4"\nmemory_gib = 16\n': [("E0704", 3, "`cpus` is of the wrong type")],
    '[[hosts]]\nname = "a"\ncpus = 4.5\nmemory_gib = 16\n': [("E0704", 3, "`cpus` is of the wrong type")],
    '[[hosts]]\nname = "a"\ncpus = true\nmemory_gib = 16\n': [("E0704", 3, "`cpus` is of the wrong type")],
    '[[hosts]]\nname = "a"\ncpus = 0\nmemory_gib = nan\n': [
        ("E0704", 3, "out of range"),
        ("E0704", 4, "`memory_gib` is nan"),
    ],
    f'[[hosts]]\nname = "a"\n{BOX}price_per_hour = -1\n': [("E0704", 5, "`price_per_hour` is -1")],
    f'[[hosts]]\nname = "a"\ncpus = {"9" * 400}\nmemory_gib = 8\n': [("E0704", 3, "`cpus` is enormous")],
    f'[[hosts]]\nname = "a"\ncpus = {"9" * 5000}\nmemory_gib = 8\n': [("E0702", 3, "a number has too many digits")],
    f'# {"9" * 5000}\n[[hosts]]\nname = "{"9" * 5000}"\ncpus = 1_{"9" * 5000}\nmemory_gib = 8\n': [
        ("E0702", 4, "a number has too many digits")
    ],
    f'[[hosts]]\nname = "a"\n{BOX}price_per_hour = inf\n': [("E0704", 5, "`price_per_hour` is inf")],
    f'[[hosts]]\nname = "a b"\n{BOX}': [("E0705", 2, "`a b` cannot name a host")],
    f'[[hosts]]\nname = "a\\nb"\n{BOX}': [("E0705", 2, "`a\\nb` cannot name a host")],
    f'[[hosts]]\nname = "{"x" * 65}"\n{BOX}': [("E0705", 2, "cannot name a host")],
    f'[[hosts]]\nname = "a[3-1]"\n{BOX}': [("E0705", 2, "runs backwards")],
    f'[[hosts]]\nname = "a[1-"\n{BOX}': [("E0705", 2, "bracket without its partner")],
    f'[[hosts]]\nname = "a[x]"\n{BOX}': [("E0705", 2, "no list of numbers")],
    f'[[hosts]]\nname = "a[0-999999999]"\n{BOX}': [("E0705", 2, "more than 4,096 hosts")],
    f'[[hosts]]\nname = "a[0-99999999999]"\n{BOX}': [
        ("E0705", 2, "`[0-99999999999]` stands for more than 4,096 hosts")
    ],
    f'[[hosts]]\nname = "a[{"9" * 5000}]"\n{BOX}': [("E0705", 2, "has a number of more than 64 digits")],
    f'[[hosts]]\nname = "a[1-99]b[1-99]"\n{BOX}': [("E0705", 2, "more than 4,096 hosts")],
    f'[[hosts]]\nname = "a[1-3]"\n{BOX}[[hosts]]\nname = "a2"\n{BOX}': [("E0706", 6, "two hosts are named `a2`")],
    f'[[hosts]]\nname = "a"\n{BOX}gpus = [\n  {{type = "l4"}},\n  {{type = "h100"}},\n]\n': [
        ("E0707", 7, "`h100` is no GPU type")
    ],
    f'[[hosts]]\nname = "a"\n{BOX}gpus = [{{count = 2}}]\n': [("E0704", 5, "`type` is missing")],
    f'[[hosts]]\nname = "a"\n{BOX}gpus = [{{type = "l4", count = 65, kind = 1}}]\n': [
        ("E0703", 5, "`kind`"),
        ("E0704", 5, "`count` is 65"),
    ],
    f'[[hosts]]\nname = "a"\n{BOX}gpus = "l4"\n': [("E0704", 5, "`gpus` is a list of tables")],
    f'[[hosts]]\nname = "a"\n{BOX}labels = ["x"]\n': [("E0704", 5, "`labels` is a table of texts")],
    f'[[hosts]]\nname = "a"\n{BOX}[hosts.labels]\nzone = "a;b"\n': [("E0705", 6, "`zone` cannot be a label")],
    "[[hosts]]\nname = gpu01\n": [("E0702", 2, "this is not TOML")],
    '[[hosts]]\nname = "a"\nname = "b"\n': [("E0702", 3, "this is not TOML")],
    '[[hosts]]\nname = "a': [("E0702", 2, "this is not TOML")],
    "a = " + "[" * 100_000: [("E0702", 1, "this is not TOML")],
    '[[hosts]]\nname = """a\n\n\n': [("E0702", 2, "this is not TOML")],
    f'[[hosts]]\nname = "a"\n{BOX}a{".a" * 20_000} = 1\n': [("E0702", 5, "a key has more than 32 parts")],
    f"[[hosts]]\n[a{'.a' * 20_000}]\n": [("E0702", 2, "a key has more than 32 parts")],
    f'[[hosts]]\nname = "g[1-4096]{"[1]" * 100_000}"\n{BOX}': [("E0705", 2, "more than 64 ranges")],
    '[[hosts]]\nname = "a"\ncpus = 4097\nmemory_gib = 1048577\n': [
        ("E0704", 3, "`cpus` is 4,097"),
        ("E0704", 4, "`memory_gib` is 1,048,577"),
    ],
    "[[hosts]]\n" * 100_000: [("E0703", 4097, "has 4,096 hosts at most, and this one lists 100,000")],
}


@pytest.mark.parametrize("text", MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_are_found_on_their_lines(text: str) -> None:
    with pytest.raises(Rejected) as rejected:
        read(text)
    found = [
        (item.code, item.span.source.position(item.span.start)[0] if item.span else 0, item.message)
        for item in rejected.value.found
    ]
    assert [(code, line) for code, line, _ in found] == [(code, line) for code, line, _ in MISTAKES[text]]
    for (_, _, message), (_, _, part) in zip(found, MISTAKES[text], strict=True):
        assert part in message


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(Rejected) as rejected:
        read(f'[[hosts]]\nname = "a"\n{BOX}gpus = [{{type = "h100"}}]\n')
    assert rejected.value.found[0].help == "did you mean `h100_sxm`?"


def unread(path: Path) -> tuple[str, str]:
    """What is said of a file that is not read, and the next step."""
    with pytest.raises(Rejected) as rejected:
        load_inventory(path)
    [found] = rejected.value.found
    assert found.code == "E0701"
    return found.message, found.help


@pytest.mark.parametrize(
    ("written", "why", "step"),
    [(b"\xff\xfe", "not UTF-8", "save it as UTF-8"), (b"# " + b"x" * (1 << 20), "larger than 1 MiB", "as a range")],
    ids=["binary", "huge"],
)
def test_files_that_are_no_text(tmp_path: Path, written: bytes, why: str, step: str) -> None:
    path = tmp_path / "inventory.toml"
    path.write_bytes(written)
    message, help_ = unread(path)
    assert why in message
    assert step in help_


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "none.toml", tmp_path / "pipe"):
        assert "harmoniac inventory detect" in unread(path)[1]


def test_a_mark_of_byte_order_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "inventory.toml"
    path.write_text(f'[[hosts]]\nname = "a"\n{BOX}', "utf-8-sig")
    assert load_inventory(path).hosts == (Host("a", 4, 16.0),)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_samples_are_read(path: Path) -> None:
    assert load_inventory(path).hosts


def test_the_page_of_an_unknown_gpu_names_all_that_are_known() -> None:
    page = SAMPLES.parents[1] / "harmonia_compiler" / "diagnostics" / "pages" / "E0707.md"
    assert set(GPU_TYPES) <= set(re.findall(r"`(\w+)`", page.read_text()))


@given(st.lists(st.integers(0, 200), min_size=1, max_size=8, unique=True), st.integers(1, 4))
def test_a_list_of_numbers_stands_for_each_of_them(numbers: list[int], width: int) -> None:
    written = ",".join(str(number).zfill(width) for number in numbers)
    assert expand(f"n[{written}]x", MOST_HOSTS) == [f"n{str(number).zfill(width)}x" for number in numbers]


@given(st.text(max_size=40))
def test_any_text_is_expanded_or_refused_in_bounds(text: str) -> None:
    with suppress(HostlistError):
        assert 1 <= len(expand(text, 100)) <= 100


def test_what_ranges_stand_for_is_said_or_refused_in_bounds() -> None:
    """Up to three groups, of which some are no ranges and some stand for too many."""
    outcomes = Counter[str]()
    for seed in range(400):
        chance = Random(seed)
        groups = [
            [(chance.randint(0, 9), chance.randint(4, chance.choice((9, 30)))) for _ in range(chance.randint(1, 3))]
            for _ in range(chance.randint(1, 3))
        ]
        text = "x".join("[" + ",".join(f"{first}-{last}" for first, last in group) + "]" for group in groups)
        hosts = math.prod(sum(last - first + 1 for first, last in group) for group in groups)
        if any(last < first for group in groups for first, last in group):
            expected = "backwards"
        else:
            expected = "some" if hosts <= 100 else "too many"
        outcomes[expected] += 1
        try:
            found = expand(text, 100)
        except TooManyHosts:
            assert expected in ("too many", "backwards"), text
        except HostlistError:
            assert expected == "backwards", text
        else:
            assert expected == "some", text
            assert len(found) == hosts, text
    assert min(outcomes.values()) >= 40
    assert len(outcomes) == 3


#: What may stand in an inventory where something else does: often another value, sometimes anything.
SLIPS = (
    *("0", "1", "8", "12", "gpu", '"l4"', '"zone"', '"a"', "1-3", "true", "4.5", "-1", "1e999", "nan", "2024-01-01"),
    *("", " ", "\n", '"', "'", "[", "{", "=", ",", "cpus", "[1-3]", "é", "\0", "[[hosts]]\n", "# "),
)


def test_whatever_is_changed_in_an_inventory_it_is_one_or_rejected() -> None:
    sample = f'[[hosts]]\nname = "gpu[1-3]"\n{BOX}gpus = [{{type = "l4", count = 2}}]\nlabels = {{zone = "a"}}\n'
    words = re.findall(r"\"\w+\"|\w+|\W", sample)
    values = [at for at, word in enumerate(words) if word in ("gpu", "1", "3", "4", "16", "2", '"l4"', '"a"')]
    reads = 0
    for seed in range(200):
        chance = Random(seed)
        at = chance.choice(values) if chance.random() < 0.7 else chance.randrange(len(words))
        piece = chance.choice(SLIPS)
        if chance.random() < 0.3:
            piece = chance.choice([words[one] for one in values])
        text = "".join([*words[:at], piece, *words[at + 1 :]])
        with suppress(Rejected):
            hosts = read(text).hosts
            reads += 1
            assert hosts, text
            assert all(one.cpus > 0 and one.memory_gib > 0 for one in hosts), text
    assert 30 <= reads <= 150, reads


@given(st.text(max_size=200))
def test_any_text_is_an_inventory_or_rejected(text: str) -> None:
    with suppress(Rejected):
        assert read(text).hosts
