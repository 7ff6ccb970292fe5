"""Checks and loads the collections of a Milvus that has just started; a short process of its own.

    python -m harmonia_compiler.runtime.actuators.supervision.opening URI < EXPECTED > OPENED

Apart, because the client library of Milvus takes a second to load and memory for ever, which the
supervisor should not spend. After every start, because milvus-lite opens its collections unloaded.
"""

import sys

import msgspec

from harmonia_compiler.runtime.actuators.supervision.store import UNFIT, Expected, Opened
from harmonia_compiler.runtime.milvus import StoreFailed, load, verify


def open_collections(uri: str, expected: list[Expected]) -> Opened:
    """Compare each collection with what is expected of it, and make those that agree searchable."""
    problems: list[str] = []
    absent: list[str] = []
    for one in expected:
        try:
            reasons = verify(uri, one.collection, one.record)
            if reasons and one.may_differ:
                absent.append(one.collection)
            elif reasons:
                problems.append(f"the collection `{one.collection}` {UNFIT}: {', '.join(reasons)}")
            elif not load(uri, one.collection):
                absent.append(one.collection)
        except StoreFailed as failed:
            problems.append(f"the collection `{one.collection}` cannot be opened: {failed}")
    return Opened(tuple(problems), tuple(absent))


def main() -> None:
    """Read what is expected from stdin, and write what was found to stdout."""
    expected = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Expected])
    sys.stdout.buffer.write(msgspec.json.encode(open_collections(sys.argv[1], expected)))


if __name__ == "__main__":
    main()
