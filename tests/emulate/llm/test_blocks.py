"""The pool of KV blocks: none is lost or found twice, and the longest unused content goes first."""

from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.emulate.llm.blocks import Block, Blocks
from tests.emulate.llm.plain_blocks import PlainBlock, PlainBlocks


def used_once(pool: Blocks, *keys: str) -> list[Block]:
    """A sequence that computed full blocks of these contents and has ended."""
    pool.take(len(keys))
    named = pool.name(keys)
    pool.give_back(named, 0, 0)
    return named


def test_what_a_sequence_leaves_is_found_from_its_beginning() -> None:
    pool = Blocks(8)
    blocks = used_once(pool, "a", "ab", "abc")
    assert pool.found(["a", "ab", "x"], 9) == blocks[:2]
    assert pool.found(["a", "ab", "abc"], 1) == blocks[:1]
    assert pool.found(["ab"], 9) == blocks[1:2]
    assert pool.free == 8


def test_blocks_that_hold_nothing_are_taken_before_those_that_do() -> None:
    pool = Blocks(5)
    used_once(pool, "a", "ab")
    pool.take(3)
    assert len(pool.found(["a", "ab"], 9)) == 2
    pool.take(1)
    assert len(pool.found(["a", "ab"], 9)) == 1, "the end of a sequence goes before its beginning"


def test_the_longest_unused_goes_first_and_use_makes_young() -> None:
    pool = Blocks(2)
    old = used_once(pool, "old")
    used_once(pool, "young")
    pool.share(old)
    pool.give_back(old, 0, 0)
    pool.take(1)
    assert pool.found(["old"], 1) == old
    assert pool.found(["young"], 1) == []


def test_what_is_in_use_is_not_taken() -> None:
    pool = Blocks(3)
    held = used_once(pool, "held")
    pool.share(held)
    assert pool.free == 2
    pool.take(2)
    assert pool.free == 0
    assert pool.found(["held"], 1) == held


def test_full_blocks_of_unknown_content_take_their_turn() -> None:
    pool = Blocks(4)
    pool.take(2)
    pool.give_back([], full=2, partial=0)
    used_once(pool, "later", "later still")
    pool.take(2)
    assert len(pool.found(["later", "later still"], 2)) == 2, "the unknown ones were older"
    pool.take(1)
    assert len(pool.found(["later", "later still"], 2)) == 1
    assert pool.free == 1


def test_of_two_equal_blocks_the_first_is_found_until_it_goes() -> None:
    pool = Blocks(2)
    pool.take(2)
    first, second = pool.name(["same"]), pool.name(["same"])
    assert pool.found(["same"], 1) == first != second
    pool.give_back(first, 0, 0)
    pool.take(1)
    assert pool.found(["same"], 1) == second


def test_without_caching_nothing_is_found() -> None:
    pool = Blocks(4, caching=False)
    used_once(pool, "a")
    assert pool.found(["a"], 1) == []
    assert pool.free == 4


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=40), st.data())
def test_blocks_are_conserved(wanted: list[tuple[int, int, int]], data: st.DataObject) -> None:
    pool, held = Blocks(24), list[tuple[list[Block], int, int]]()
    for named, full, partial in wanted:
        if named + full + partial <= pool.free and data.draw(st.booleans()):
            pool.take(named + full + partial)
            held.append((pool.name(range(named)), full, partial))
        elif held:
            blocks, full_held, partial_held = held.pop(data.draw(st.integers(0, len(held) - 1)))
            pool.give_back(blocks, full_held, partial_held)
        assert pool.free == pool.total - sum(len(blocks) + full + partial for blocks, full, partial in held)
    for blocks, full, partial in held:
        pool.give_back(blocks, full, partial)
    assert pool.free == pool.total
    pool.take(pool.total)
    assert pool.found([0], 1) == []


WORDS = st.text("ab", max_size=5)


@given(st.integers(3, 20), st.lists(st.tuples(WORDS, st.integers(0, 5), st.integers(0, 2), st.booleans()), max_size=60))
def test_it_is_as_a_pool_that_looks_through_all_of_its_blocks(
    total: int, sequences: list[tuple[str, int, int, bool]]
) -> None:
    pool, plain = Blocks(total), PlainBlocks(total)
    held: list[tuple[list[Block], list[PlainBlock], int]] = []
    for word, seen, further, ends in sequences:
        if ends and held:
            blocks, plain_blocks, full = held.pop(seen % len(held))
            pool.give_back(blocks, full, 1)
            plain.give_back(plain_blocks, full, 1)
        keys = [word[: length + 1] for length in range(len(word))]
        # Who began before others had computed the same has blocks of its own for it.
        hits, plain_hits = pool.found(keys, seen), plain.found(keys[:seen])
        assert len(hits) == len(plain_hits)
        new, unused = keys[len(hits) :], pool.unused(hits)
        assert unused == sum(not block.users for block in plain_hits)
        wanted = len(new) + further + 1
        if wanted + unused <= plain.free:
            pool.share(hits)
            plain.share(plain_hits)
            pool.take(wanted)
            plain.take(wanted)
            held.append((hits + pool.name(new), plain_hits + plain.name(new), further))
        assert pool.free == plain.free
    for blocks, plain_blocks, full in held:
        pool.give_back(blocks, full, 1)
        plain.give_back(plain_blocks, full, 1)
    for left in reversed(range(total)):
        pool.take(1)
        plain.take(1)
        assert pool.free == plain.free == left
        for word, *_ in sequences:
            keys = [word[: length + 1] for length in range(len(word))]
            assert len(pool.found(keys, len(keys))) == len(plain.found(keys))
