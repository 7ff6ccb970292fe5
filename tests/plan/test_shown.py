"""What people and programs read of a plan, whole: a plan made by hand, in which no two figures are alike.

How each figure follows is said beside it. A golden that changes is read line by line before it is blessed.
"""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.cli import plan as shown
from harmonia_compiler.cli.comparing import change_remarks, change_tables
from harmonia_compiler.cli.fronting import frontier_document, frontier_picture, frontier_table
from harmonia_compiler.cli.plan_graph import STYLE, drawn
from harmonia_compiler.cli.plan_page import plan_page
from harmonia_compiler.cli.plan_tables import carries, remarks, tables_of
from harmonia_compiler.cli.reasoning import explanation_document, explanation_remarks, explanation_tables
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.plan import (
    FORMAT_VERSION,
    Configuration,
    CutText,
    MemoryUse,
    MissedShare,
    PipelineShare,
    Plan,
    Predicted,
    ProfileUse,
    Replica,
    Solver,
    encode_plan,
)
from harmonia_compiler.flow.picture import Arrow, Box, Picture
from harmonia_compiler.plan.explain import Alternative, Explanation, Limit
from harmonia_compiler.plan.frontier import Point
from harmonia_compiler.plan.running import changes
from harmonia_compiler.profile.sources import CPU_ROOFLINE, ROOFLINE
from harmonia_compiler.report.page import PAGE_STYLE
from tests.plan.applications import quickstart

HERE = Path(__file__).parent / "shown"

CORES = Configuration(0.5, 2.25)
WHOLE = Configuration(4.0, 60.0, "a100_sxm", 2.0, 80.0, 2, 64)
PART = Configuration(1.0, 10.0, "l4", 0.25, 6.0, 1, 8)

#: 16 + 4 cores, 256 + 64 GiB of memory, 4 of one GPU type and 2 of the other.
INVENTORY = Inventory((Host("big", 16, 256.0, (Gpu("a100_sxm", 4),)), Host("vm", 4, 64.0, (Gpu("l4", 2),))))


def replica(engine: str, number: int, host: str, config: Configuration, *devices: int, serves: str = "") -> Replica:
    """One that takes what its configuration says."""
    named = tuple(serves.split()) or (engine,)
    return Replica(f"{engine}-{number}", engine, host, devices, config.cores, config.memory_gib, config, named)


PLAN = Plan(
    FORMAT_VERSION,
    "cost",
    (
        # 2.0000001 is 2.00001 where a need is rounded up to six digits.
        PipelineShare("desk", 2.0000001, {"search": 1.0, "write": 1.5}),
        # 1234.5 asked for, 1200.9 carried: 1200 where a supply is rounded down to whole units.
        PipelineShare("mail", 1234.5, {"search": 1.0}),
        # 10 asked for, and all of it carried but for 5 in a million, which no remark is about.
        PipelineShare("news", 10.0, {"search": 1.0}),
    ),
    {},
    {
        "search": Engine("search", "milvus", {}),
        "small": Engine("small", "llm", {"model": "small"}),
        "rank": Engine("rank", "reranker", {"model": "rank"}),
    },
    (
        replica("search", 0, "vm", CORES),
        replica("search", 1, "big", CORES),
        replica("small", 0, "big", WHOLE, 0, 1, serves="grade write"),
        replica("small", 1, "vm", PART, 1, serves="grade write"),
        replica("small", 2, "vm", PART, 1, serves="grade write"),
        replica("rank", 0, "big", PART, 3),
    ),
    {
        # 2.9996 is 2.99 where it is rounded down. 4.25 an hour is what 7200 requests at 2 a second cost: 0.5903 for
        # a thousand.
        "desk": Predicted(2.9996, 1530.0, 412.6, 4.25, "small", 0.5903),
        "mail": Predicted(1200.9, 90_000.0, 999.7, 0.0, "search"),
        "news": Predicted(9.99995, 1000.0, 20.5, 3.125, "search"),
    },
    (
        ProfileUse("search", CORES.describe(), "measured: <here> [b]&[/b]", 12_345.6, 3.456, 2.0),
        ProfileUse("small", WHOLE.describe(), ROOFLINE, 20.44, 812.0),
        ProfileUse("small", PART.describe(), "analytic: stated", 3.0, 2345.0, 0.8),
        ProfileUse("rank", PART.describe(), CPU_ROOFLINE, 0.01234, 65_000.0),
    ),
    Solver("feasible", 0.01234),
    {"app.rag": "sha256:1"},
    utilisation={"small": 0.796, "search": 0.004, "rank": 1.0},
    guessed=("mail.q", "write"),
    estimated=("mail",),
    missed=(MissedShare("app.rag", 12, 0.3, 0.13509),),
    late={"write": 0.0701},
    cut={"rank": CutText(611.26, 512.0)},
    memory=(
        MemoryUse("small", WHOLE.describe(), 1234.4, 52.34, 1_234_567.8, 6.789),
        MemoryUse("rank", PART.describe(), 0.0846, 0.0, 0.0, 1.0),
    ),
)


def printed(capsys: pytest.CaptureFixture[str], *given: object) -> str:
    """What the command prints of tables and remarks, without the blanks at the ends of lines."""
    shown._print(*given)  # type: ignore[arg-type]
    return "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())


def elements(page: str) -> str:
    """A page or a picture as a line for each element, without its styles, which are beside the point."""
    return page.replace(PAGE_STYLE, "").replace(STYLE, "").replace("><", ">\n<")


def explanation() -> Explanation:
    """Of each form that an alternative and a limit have."""
    return Explanation(
        "small",
        (
            # 1.24999 times 2.0000001 a second are 2.49 where they are rounded down, and times 1234.5 are 1543.1.
            Alternative("a100_sxm", 1, 1.24999, 12.5),
            Alternative("cpu", 0, None, None, "`desk` promises a p95 latency of 400 ms"),
            Alternative("l4", 2, 0.5, 0.0),
        ),
        (
            Limit("memory_gib", ("big",), 0.1234),
            Limit("a100_sxm", ("g1", "g2", "g3", "g4", "g5"), 0.05),
            Limit("cores", ("h1", "h2", "h3"), 0.04),
            Limit("small", (), 0.03),
            Limit("search", (), 0.02, never_copied=True),
        ),
    )


def before() -> Plan:
    """A plan of which PLAN keeps three replicas, starts three and stops two, `rank` since its settings were others."""
    kept = [one for one in PLAN.replicas if one.id not in ("search-1", "small-2")]
    return msgspec.structs.replace(
        PLAN,
        replicas=(*kept, replica("search", 2, "vm", CORES)),
        engines={**PLAN.engines, "rank": Engine("rank", "reranker", {"model": "another"})},
        predicted={"desk": Predicted(2.4444, 61_000.0, 412.6, 5.5, "rank", 0.7), "old": PLAN.predicted["mail"]},
        sources={"app.rag": "sha256:2", "b[old].rag": "sha256:3"},
    )


def points() -> list[Point]:
    """The second is on one host alone, with two devices of one type of which one holds two replicas."""
    on_vm = tuple(one for one in PLAN.replicas if one.host == "vm")
    faster = {"desk": PLAN.predicted["desk"], "mail": Predicted(1.0, 400.0, 300.0, 4.0, "rank")}
    slow = msgspec.structs.replace(PLAN, replicas=(*on_vm, replica("small", 3, "vm", PART, 0)))
    return [Point(slow, 4.25, 90_000.0), Point(msgspec.structs.replace(PLAN, predicted=faster), 8.25, 1530.0)]


def branched() -> Picture:
    """A branch: below the question, two boxes of 11 and of one letters, and the answer below these.

    A letter is 7.2 across and a box 20 more, so that 99.2, 28 between them and 27.2 are the widest row.
    """
    boxes = (
        Box("q", "input", ("a question",)),
        Box("w", "call", ("write", "llm · small", "×1.5 <each>")),
        Box("c", "branch", ("<",)),
        Box("e", "answer", ("answer",)),
    )
    arrows = (
        Arrow("q", "w", "<question>"),
        Arrow("q", "c", is_dashed=True),
        Arrow("w", "e"),
        Arrow("c", "e", "no, 30 %"),
        Arrow("e", "q", "next round", is_dashed=True),
    )
    return Picture("p & q", boxes, arrows)


def test_texts(capsys: pytest.CaptureFixture[str], golden: Callable[[Path, dict[str, str]], None]) -> None:
    compared = changes(before(), PLAN)
    loads = {share.name: share.load_rps for share in PLAN.pipelines}
    golden(
        HERE,
        {
            "plan.txt": printed(capsys, tables_of(PLAN), remarks(PLAN)),
            "changes.txt": printed(capsys, change_tables(compared), change_remarks(compared)),
            "explained.txt": printed(
                capsys, explanation_tables(explanation(), loads), explanation_remarks(explanation())
            ),
            "frontier.txt": printed(capsys, [frontier_table(points())], []),
            "frontier.svg": elements(frontier_picture(points())),
            "graph.svg": elements(drawn(branched())),
            "page.html": elements(plan_page(quickstart(), INVENTORY, PLAN)),
            "plan.json": encode_plan(PLAN).decode(),
        },
    )


def test_documents() -> None:
    """Of the same, by which a program goes: each value under its own name, in ms and as it is."""
    assert json.loads(json.dumps(explanation_document(explanation())))["explanation"] == {
        "engine": "small",
        "alternatives": [
            {"device": "a100_sxm", "replicas": 1, "rate": 1.24999, "cost_per_hour": 12.5, "why": ""},
            {
                "device": "cpu",
                "replicas": 0,
                "rate": None,
                "cost_per_hour": None,
                "why": "`desk` promises a p95 latency of 400 ms",
            },
            {"device": "l4", "replicas": 2, "rate": 0.5, "cost_per_hour": 0.0, "why": ""},
        ],
        "limits": [
            {"what": "memory_gib", "hosts": ["big"], "brings": 0.1234, "never_copied": False},
            {"what": "a100_sxm", "hosts": ["g1", "g2", "g3", "g4", "g5"], "brings": 0.05, "never_copied": False},
            {"what": "cores", "hosts": ["h1", "h2", "h3"], "brings": 0.04, "never_copied": False},
            {"what": "small", "hosts": [], "brings": 0.03, "never_copied": False},
            {"what": "search", "hosts": [], "brings": 0.02, "never_copied": True},
        ],
    }
    assert frontier_document(points()) == {
        "format_version": 1,
        "frontier": [
            {
                "latency_ms": 90_000.0,
                "cost_per_hour": 4.25,
                "replicas": {"search": 1, "small": 3},
                "hosts": ["vm"],
            },
            {
                "latency_ms": 1530.0,
                "cost_per_hour": 8.25,
                "replicas": {"rank": 1, "search": 2, "small": 3},
                "hosts": ["big", "vm"],
            },
        ],
    }


def test_remarks_of_a_plan_that_rests_on_much() -> None:
    """Proven, so that no other would carry the load; and of what is assumed, nothing is a language model."""
    plan = msgspec.structs.replace(
        PLAN,
        profiles=PLAN.profiles[2:],
        solver=Solver("optimal", 0.0),
        guessed=(),
        estimated=(),
        missed=(),
        late={},
        cut={},
    )
    assert remarks(plan) == [
        "Figures by data sheet or for a modest core, which may be far off: rank.",
        "Calls of small take 0.8 times as long as the source of their figures says.",
        "mail asks for 1234.5 rps, and this plan carries 1200; no plan on this inventory carries it all.",
    ]
    same = changes(plan, plan)
    assert change_tables(same) == []
    assert change_remarks(same) == ["6 stay, 0 are started, 0 are stopped."]
    without = Explanation("small", (), ())
    assert explanation_remarks(without) == [
        "Nothing limits the rate alone: several limits would have to give way at once."
    ]


@pytest.mark.parametrize(
    ("load", "carried", "said"),
    [
        (10.0, 9.9999, "10"),
        (10.0, 9.99991, "10"),
        (10.0, 9.9998, "9.99"),
        (10.02, 10.0242, "10.02"),
        (10.02, 10.0, "10"),
        (1 / 3, 0.333333, "0.333334"),
        (10.0, 12.3456, "12.3"),
        (0.0, 9.9999, "9.99"),
    ],
)
def test_a_load_that_is_held_is_not_rounded_below_what_was_asked(
    load: float, carried: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within what the planner takes for holding it; what falls short is rounded down."""
    assert carries(load, carried) == said
    shares = tuple(msgspec.structs.replace(one, load_rps=load or 1e-6) for one in PLAN.pipelines)
    expected = {name: msgspec.structs.replace(one, throughput_rps=carried) for name, one in PLAN.predicted.items()}
    plan = msgspec.structs.replace(PLAN, pipelines=shares, predicted=expected)
    assert f" {said} rps " in printed(capsys, tables_of(plan), [])
    assert f"→ {said} rps " in printed(capsys, change_tables(changes(PLAN, plan)), [])


def test_a_table_without_rows_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a plan without models, the one about their memory."""
    plan = msgspec.structs.replace(PLAN, memory=())
    for text in (printed(capsys, tables_of(plan), []), plan_page(quickstart(), INVENTORY, plan)):
        assert "Engines at those rates" in text
        assert "Memory of each replica" not in text
