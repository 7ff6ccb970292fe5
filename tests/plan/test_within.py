"""Calls that have a time (`within`): how often they fall back, how long they last, and what that has to carry."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.flow.takes import Takes
from harmonia_compiler.plan.planner import make_plan

HEAD = """
component slow(q: text) -> text ~ 9 tokens = python("tools:slow", takes: 400 ms, cores: 0.25, memory: 0.2 GiB)
component slower(q: text) -> text ~ 9 tokens = python("tools:slower", takes: 600 ms, cores: 0.25, memory: 0.2 GiB)
component other(q: text) -> text ~ 9 tokens = python("tools:other", takes: 300 ms, cores: 0.25, memory: 0.2 GiB)
component sole(q: text) -> text ~ 9 tokens = python("tools:sole", takes: 400 ms, cores: 1, memory: 0.2 GiB)
component quick(q: text) -> text ~ 9 tokens = python("tools:quick", takes: 5 ms, cores: 0.25, memory: 0.2 GiB)
"""
INVENTORY = Inventory((Host("one", 6, 24.0),))
PIPELINES = """
component sure(q: text) -> bool = python("tools:sure", takes: 1 ms)
component many(q: text) -> [text] ~ 30 = python("tools:many", takes: 1 ms)
component few(q: text) -> text ~ 9 tokens = python("tools:few", takes: 400 ms, cores: 0.25, max_replicas: 4)
pipeline sometimes(q: text ~ 9 tokens) -> text {
    if sure(q) ~ 0.02 { return slower(q) }
    return quick(q)
}
pipeline again(q: text ~ 9 tokens) -> text {
    draft = q
    repeat up to 2 { draft = slow(draft) } until sure(draft) ~ 0.6667
    return draft
}
"""
#: What calls take, in ms, and vary by half of it.
TAKES = Takes({"slow": 400.0, "slower": 600.0, "other": 300.0, "quick": 5.0}, 0.5)


def planned(folder: Path, body: str) -> Plan:
    (folder / "p.rag").write_text(f"{HEAD}pipeline p(q: text ~ 9 tokens) -> text {{\n{body}\n}}\n")
    checked = check_files([folder / "p.rag"], {})
    assert checked.application is not None, checked.found
    return make_plan(optimise(checked.application), INVENTORY, objective="throughput")


def flow_p(folder: Path, text: str) -> tuple[Application, Flow]:
    """The application in a text, and its pipeline `p`."""
    (folder / "p.rag").write_text(text)
    application = check_files([folder / "p.rag"], {}).application
    assert application is not None
    return application, next(flow for flow in application.flows if flow.name == "p")


def visits(folder: Path, value: str, takes: Takes | None = TAKES) -> dict[str, float]:
    application, flow = flow_p(
        folder, f"{HEAD}{PIPELINES}pipeline p(q: text ~ 9 tokens) -> text {{ return {value} }}\n"
    )
    return demand(application, flow, takes=takes).visits


@pytest.mark.parametrize(
    ("value", "late"),
    [
        ("slow(q) within 400 ms else other(q)", 0.5),
        ("slow(q) within 600 ms else other(q)", 0.158655),
        ("slow(q) within 60 s else other(q)", 0.0),
        ("slow(q) within 1 ms else other(q)", 0.977),
        ("slow(slower(q)) within 1 s else other(q)", 0.5),
        ("(slow(q) within 1 ms else quick(q)) within 60 s else other(q)", 0.0),
        ("slow(q) else other(q)", 0.0),
        # It falls back inside, and that takes longer than there is.
        ("(slower(q) within 100 ms else slow(q)) within 200 ms else other(q)", 0.889),
        # One in a hundred takes 600 ms, and half of these too long.
        ("(quick(q) else slower(q)) within 600 ms else other(q)", 0.005),
        ("(quick(q) else slower(q)) within 100 ms else other(q)", 0.01 * 0.952),
        ("sometimes(q) within 100 ms else other(q)", 0.02 * 0.952),
        # Two rounds in three are the last.
        ("again(q) within 600 ms else other(q)", 2 / 3 * 0.1587 + 1 / 3 * 0.7603),
    ],
)
def test_what_takes_longer_than_it_may_falls_back(tmp_path: Path, value: str, late: float) -> None:
    assert visits(tmp_path, value)["other"] == pytest.approx(0.01 + 0.99 * late, abs=1e-3)
    assert visits(tmp_path, value, takes=None)["other"] == pytest.approx(0.01)


def test_a_fallback_for_what_is_always_late_is_given_what_it_needs(tmp_path: Path) -> None:
    plan = planned(tmp_path, "slo p95 latency <= 6 s\nload 3 rps\nreturn slow(q) within 50 ms else other(q)")
    count = [replica.engine for replica in plan.replicas].count("other")
    # Each takes 0.3 core seconds, on a quarter of a core.
    assert count >= 3 * 0.3 / 0.25
    # On a quarter of a core a call takes 1.6 s and more.
    assert plan.late == {"slow": pytest.approx(0.974, abs=0.001)}


def test_what_is_given_up_lasts_no_longer_than_it_may(tmp_path: Path) -> None:
    """It ends when its time has passed, and hardly varies; what it falls back on does."""
    plan = planned(tmp_path, "slo p95 latency <= 200 ms\nload 1 rps\nreturn slow(q) within 50 ms else quick(q)")
    quick = planned(tmp_path, "load 1 rps\nreturn quick(q)").predicted["p"].latency_ms
    assert 50 <= plan.predicted["p"].latency_ms <= 52 + quick
    plan = planned(tmp_path, 'slo p95 latency <= 52 ms\nload 1 rps\nreturn slow(q) within 50 ms else "sorry"')
    assert plan.predicted["p"].latency_ms == pytest.approx(51, abs=1)
    with pytest.raises(Rejected, match="E0724"):
        planned(tmp_path, "slo p95 latency <= 200 ms\nload 1 rps\nreturn slow(q)")


@pytest.mark.parametrize("within", [390, 410, 450, 500, 600, 700])
def test_what_has_a_time_never_takes_longer_in_a_plan(tmp_path: Path, within: int) -> None:
    """Whoever would take longer is given up, or falls back; 400 ms is what a call takes in the mean."""
    ended = planned(tmp_path, f"load 0.1 rps\nreturn sole(q) within {within} ms")
    fallen = planned(tmp_path, f'load 0.1 rps\nreturn sole(q) within {within} ms else "sorry"')
    for plan in (ended, fallen):
        assert within * 0.9 < plan.predicted["p"].latency_ms < within * 1.05


def test_who_takes_longer_falls_back_more_often(tmp_path: Path) -> None:
    """Those with a second round and more are late, and only they take as long as they may and the fallback as well."""
    body = (
        "draft = q\nrepeat up to 8 { draft = slow(draft) } until sure(draft) ~ 0.3\nreturn draft\n}\n"
        "pipeline p(q: text ~ 9 tokens) -> text {\nreturn rounds(q) within 1 s else other(q)"
    )
    text = PIPELINES + f"pipeline rounds(q: text ~ 9 tokens) -> text {{\n{body}\n}}\n"
    application, flow = flow_p(tmp_path, HEAD + text)
    found = demand(application, flow, takes=TAKES)
    names = {call.position: call.component for call in found.calls}
    rounds = {True: [0.0, 0.0], False: [0.0, 0.0]}
    for path in found.paths:
        sent = [names[at] for at in path.sent].count("slow")
        rounds[bool(path.fallen)][0] += path.likely
        rounds[bool(path.fallen)][1] += path.likely * sent
    fallen, kept = (rounds[each][1] / rounds[each][0] for each in (True, False))
    assert fallen > 3.5
    assert kept < 2.0
    assert sum(path.likely for path in found.paths) == pytest.approx(1.0)
    for way in found.ways:
        called = [at for at in way.path.sent if names[at] != "other"]
        lasting = sum(way.given_up.get(at, TAKES.ms.get(names[at], 0.0)) for at in called)
        assert lasting <= 1000.001
        assert way.path.sent == frozenset() or lasting > 999.999 or [names[at] for at in called].count("slow") <= 2


def test_an_arm_that_keeps_its_time_is_not_shortened_by_one_that_does_not(tmp_path: Path) -> None:
    body = "y = sure(q)\nif y ~ 0.5 { x = slower(q) } else { x = quick(q) }\nreturn x"
    arms = f"pipeline arms(q: text ~ 9 tokens) -> text {{\n{body}\n}}\n"
    late = "pipeline p(q: text ~ 9 tokens) -> text { return arms(q) within 50 ms else other(q) }\n"
    application, flow = flow_p(tmp_path, HEAD + PIPELINES + arms + late)
    found = demand(application, flow, takes=TAKES)
    names = {call.position: call.component for call in found.calls}
    ended = {names[at]: round(ms) for way in found.ways for at, ms in way.given_up.items()}
    assert ended == {"slower": 50, "sure": 0}
    fell = sum(path.likely for path in found.paths if path.fallen and "slower" in {names[at] for at in path.sent})
    assert fell == pytest.approx(0.5, abs=0.03)


def test_items_that_wait_for_others_are_late(tmp_path: Path) -> None:
    """Of thirty that follow each other by 400 ms, two are there in 900 ms; their fallback is for the other ones."""
    value = "each x in many(q): (few(x) within 900 ms else other(x))"
    application, flow = flow_p(
        tmp_path, f"{HEAD}{PIPELINES}pipeline p(q: text ~ 9 tokens) -> [text] {{ return {value} }}\n"
    )
    takes = Takes({"many": 1.0, "few": 400.0, "other": 300.0}, 0.5)
    assert demand(application, flow, takes=takes).visits["other"] == pytest.approx(30 * 0.0163, abs=0.1)
    alone = Takes(takes.ms, 0.5, at_once={"few": 1.0})
    assert demand(application, flow, takes=alone).visits["other"] == pytest.approx(28, abs=1)


def test_a_chain_that_is_given_up_lasts_as_long_as_it_may_altogether(tmp_path: Path) -> None:
    one = planned(tmp_path, "load 1 rps\nreturn slow(slower(slow(q))) within 100 ms else quick(q)")
    alone = planned(tmp_path, "load 1 rps\nreturn quick(q)")
    assert one.predicted["p"].latency_ms == pytest.approx(100 + alone.predicted["p"].latency_ms, rel=0.5)


def test_without_a_fallback_what_is_late_ends_the_request(tmp_path: Path) -> None:
    plan = planned(tmp_path, "slo p95 latency <= 100 ms\nload 1 rps\nreturn slow(q) within 50 ms")
    assert 50 <= plan.predicted["p"].latency_ms <= 100


def test_what_keeps_its_time_takes_what_it_takes(tmp_path: Path) -> None:
    bounded = planned(tmp_path, "load 1 rps\nreturn slow(q) within 60 s")
    free = planned(tmp_path, "load 1 rps\nreturn slow(q)")
    assert bounded.predicted == free.predicted
    assert bounded.late == {}


def test_items_of_a_list_follow_each_other_where_no_more_are_worked_on_at_once(tmp_path: Path) -> None:
    value = "(each x in many(q): few(x)) within 1 s else [quick(q)]"
    application, flow = flow_p(
        tmp_path, f"{HEAD}{PIPELINES}pipeline p(q: text ~ 9 tokens) -> [text] {{ return {value} }}\n"
    )
    takes = Takes({"many": 1.0, "few": 400.0, "quick": 5.0}, 0.5)
    assert demand(application, flow, takes=takes).late["few"] == pytest.approx(0.0013, abs=1e-4)
    four = Takes(takes.ms, 0.5, at_once={"few": 4.0})
    assert demand(application, flow, takes=four).late["few"] > 0.9
    found = demand(application, flow, takes=four)
    names = {call.position: call.component for call in found.calls}
    late = [way.given_up for way in found.ways if way.path.fallen]
    assert [{names[at]: round(ms) for at, ms in each.items()} for each in late] == [{"many": 0, "few": 1000}]


def test_a_list_that_is_written_together_is_late_as_a_whole(tmp_path: Path) -> None:
    """Sixteen answers take as long as the longest of them, and their prompts before that."""
    written = 'component gen(q: text) -> text ~ 100 tokens = llm("meta-llama/Llama-3.1-8B-Instruct", prompt: "{q}")\n'
    late = []
    for value in (
        "(each x in many(q): gen(x)) within 1200 ms else [quick(q)]",
        "[gen(q)] within 1200 ms else [quick(q)]",
    ):
        pipeline = f"pipeline p(q: text ~ 9 tokens) -> [text] {{\nload 0.1 rps\nreturn {value}\n}}\n"
        (tmp_path / "p.rag").write_text(HEAD + PIPELINES + written + pipeline)
        checked = check_files([tmp_path / "p.rag"], {})
        assert checked.application is not None, checked.found
        served = replace(checked.application, flows=tuple(one for one in checked.application.flows if one.name == "p"))
        inventory = Inventory((Host("one", 32, 256.0, (Gpu("h100_sxm", 1),)),))
        late.append(make_plan(optimise(served), inventory, objective="throughput").late.get("gen", 0.0))
    assert late[0] > 0.8
    assert late[1] < 0.2


def test_what_is_streamed_is_late_until_its_first_piece(tmp_path: Path) -> None:
    body = "slo p95 ttft <= 900 ms\nload 1 rps\nreturn stream gen(q) within 1 s else quick(q)"
    (tmp_path / "p.rag").write_text(
        f"{HEAD}component gen(q: text) -> text ~ 256 tokens = "
        'llm("meta-llama/Llama-3.1-8B-Instruct", prompt: "{q}")\n'
        f"pipeline p(q: text ~ 9 tokens) -> text {{\n{body}\n}}\n"
    )
    checked = check_files([tmp_path / "p.rag"], {})
    assert checked.application is not None, checked.found
    inventory = Inventory((Host("one", 16, 64.0, (Gpu("l40s", 1),)),))
    plan = make_plan(optimise(checked.application), inventory, objective="throughput")
    assert plan.late == {}
    assert plan.predicted["p"].ttft_ms < 900 < plan.predicted["p"].latency_ms


def test_what_a_plain_return_gives_is_late_until_its_end(tmp_path: Path) -> None:
    """Whether or not another return of its pipeline streams."""
    late = []
    for plain in ("return", "return stream"):
        model = 'llm("meta-llama/Llama-3.1-8B-Instruct", prompt: "{q}")'
        (tmp_path / "p.rag").write_text(
            f"{HEAD}component gen(q: text) -> text ~ 256 tokens = {model}\n"
            f"component brief(q: text) -> text ~ 9 tokens = {model}\n"
            "pipeline p(q: text ~ 9 tokens, easy: bool) -> text {\n    load 1 rps\n"
            "    if easy { return stream brief(q) }\n"
            f"    {plain} gen(q) within 1 s else quick(q)\n}}\n"
        )
        checked = check_files([tmp_path / "p.rag"], {})
        assert checked.application is not None, checked.found
        inventory = Inventory((Host("one", 16, 64.0, (Gpu("l40s", 1),)),))
        late.append(make_plan(optimise(checked.application), inventory, objective="throughput").late)
    whole, streamed = late
    assert whole["gen"] > 0.9
    assert streamed == {}
