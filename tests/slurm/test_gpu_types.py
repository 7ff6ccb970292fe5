"""Services on a real Slurm one of whose nodes has GPUs of two types: each replica has those of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harmonia_compiler.contract.inventory import Gpu, Host

from .cluster import Cluster, Nodes
from .conftest import running
from .service import Place, ask, up, write

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

#: A node with GPUs of two types, and one with those of the second alone.
TWO_TYPES: Nodes = {"both": (8, 65_536, {"a100_sxm": 2, "l40s": 3}), "one": (8, 65_536, {"l40s": 2})}


@pytest.fixture(scope="module")
def of_two_types() -> Iterator[Cluster]:
    """A Slurm of these nodes."""
    with running(TWO_TYPES) as found:
        yield found


@pytest.mark.parametrize(
    ("places", "site", "taken", "seen"),
    [
        ([("both", (0,), "a100_sxm", 1.0)], "", "", {("both", "0")}),
        ([("both", (2,), "l40s", 1.0)], "", "", {("both", "2")}),
        ([("both", (0,), "a100_sxm", 1.0), ("both", (3,), "l40s", 1.0)], "", "", {("both", "0"), ("both", "3")}),
        # Somebody else has the first of each type.
        (
            [("both", (0,), "a100_sxm", 1.0), ("both", (2,), "l40s", 1.0)],
            "exclusive = false",
            "gpu:a100_sxm:1,gpu:l40s:1",
            {("both", "1"), ("both", "3")},
        ),
        # Planned for the first of its node, on another where it is the third.
        ([("one", (0,), "l40s", 1.0)], 'nodes = "any"\nexclusive = false', "one", {("both", "2")}),
        (
            [("one", (0,), "l40s", 1.0), ("one", (1,), "l40s", 1.0)],
            'nodes = "any"',
            "one",
            {("both", "2"), ("both", "3")},
        ),
    ],
    ids=["first", "second", "both", "shared", "anywhere, shared", "anywhere"],
)
def test_a_replica_has_gpus_of_its_type_where_a_node_has_two(
    of_two_types: Cluster,
    tmp_path: Path,
    places: list[Place],
    site: str,
    taken: str,
    seen: set[tuple[str, str]],
) -> None:
    hosts = [
        Host(name, cores, memory / 1024, tuple(Gpu(kind, count) for kind, count in gpus.items()))
        for name, (cores, memory, gpus) in TWO_TYPES.items()
    ]
    bundle = write(tmp_path, places, f"[slurm]\n{site}\n", hosts=hosts)
    if taken in TWO_TYPES:
        of_two_types.drain_node(taken, "a fan is broken")
    elif taken:
        holds = ["--nodelist=both", "--mem=1M", f"--gres={taken}", "--output=/dev/null", "--wrap=sleep 600"]
        held = of_two_types.call("sbatch", "--parsable", *holds)
    try:
        with up(bundle):
            assert {(node, gpus) for node, _, gpus in (ask(bundle).split(" ") for _ in range(20))} == seen
    finally:
        if taken in TWO_TYPES:
            of_two_types.resume_node(taken)
        elif taken:
            of_two_types.call("scancel", held)
