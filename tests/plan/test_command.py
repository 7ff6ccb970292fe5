"""`harmoniac plan` and `harmoniac inventory` as a user sees them: tables, documents, exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harmonia_compiler.cli.exits import DIAGNOSTICS, FINE, INFEASIBLE, USAGE
from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.contract.plan import read_plan

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
QUICKSTART = str(SAMPLES / "quickstart.rag")
LAPTOP = str(SAMPLES / "inventories" / "laptop.toml")

IMPATIENT = """
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm)
component small = llm("SmolLM2-135M-Instruct")
component answer(question: text, passages: [passage]) -> text = small("{passages} {question}")
pipeline ask(question: text) -> text {
    slo p95 latency <= 1 ms
    return stream answer(question, search(question))
}
"""


def test_the_table_says_what_runs_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", QUICKSTART, "--inventory", LAPTOP]) == FINE
    out, err = capsys.readouterr()
    for shown in ("laptop", "rerank-0", "quickstart", "rps", "analytic: roofline, modest core"):
        assert shown in out
    assert "planned in" in err


def test_lists_in_lists_of_billions_of_calls_are_planned(tmp_path: Path) -> None:
    """How many turns a replica takes for them is worked out, not counted one by one."""
    lists = "write(i3)"
    for depth in range(3, -1, -1):
        lists = f"merge(each i{depth} in many({f'i{depth - 1}' if depth else 'q'}): {lists})"
    source = tmp_path / "deep.rag"
    source.write_text(f"""
component small = llm("SmolLM2-135M-Instruct", max_tokens: 8)
component many(q: text) -> [text ~ 5 tokens] ~ 256 = small("List {{q}}", max_tokens: 1400)
component write(q: text) -> text ~ 5 tokens = small("Write {{q}}")
component merge(x: [text]) -> text ~ 5 tokens = small("Merge {{x}}")
pipeline ask(q: text ~ 10 tokens) -> text {{
    load 1 rps
    return {lists}
}}
""")
    assert run(["plan", str(source), "--inventory", LAPTOP]) == FINE


def test_the_document_is_the_plan(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out = tmp_path / "plan.json"
    assert run(["plan", QUICKSTART, "--inventory", LAPTOP, "--format", "json", "--out", str(out)]) == FINE
    printed = capsysbinary.readouterr().out
    assert printed == out.read_bytes()
    assert json.loads(printed)["predicted"].keys() == {"quickstart"}
    assert read_plan(out).objective == "throughput"


def test_memory_is_shown_and_a_figure_that_rests_on_little_is_flagged(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", QUICKSTART, "--inventory", LAPTOP]) == FINE
    out = " ".join(capsys.readouterr().out.split())
    assert "Memory of each replica" in out
    assert "0.251 GiB 1 GiB 46,603 tokens 2.8 GiB" in out
    assert "Figures by data sheet or for a modest core, which may be far off: minilm, rerank, small." in out


SMALL_MACHINE = '[[hosts]]\nname = "vm"\ncpus = 2\nmemory_gib = 23.5\nbf16 = false\n'


def test_the_fastest_plan_is_told_of_and_a_load_is_blamed_where_it_is_the_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On two cores not every engine has its quickest configuration: what is told of is what there is room for."""
    source, inventory = tmp_path / "a.rag", tmp_path / "small.toml"
    inventory.write_text(SMALL_MACHINE, encoding="utf-8")

    def planned(promise_s: float, *options: str, load: str = "0.02 rps") -> tuple[int, str]:
        text = Path(QUICKSTART).read_text(encoding="utf-8").replace("load 0.02 rps", f"load {load}")
        source.write_text(re.sub(r"slo .*", f"slo p95 latency <= {promise_s:g} s", text), encoding="utf-8")
        code = run(["plan", str(source), "--inventory", str(inventory), *options])
        return code, capsys.readouterr().err

    code, said = planned(1.0)
    assert code == INFEASIBLE
    found = re.search(r"E0724.* reaches ([0-9.]+) s", said)
    assert found is not None, said
    least = float(found[1])
    for part in (0.7, 0.97):
        tighter = float(f"{part * least:.3g}")
        code, said = planned(tighter)
        assert code == INFEASIBLE
        assert f"p95 latency of {tighter:g} s, and the fastest plan on this inventory reaches {found[1]} s" in said
    assert planned(least)[0] == FINE
    code, said = planned(1.01 * least, "--objective", "cost", load="500 rps")
    assert code == INFEASIBLE
    assert "E0723" in said


def test_planning_opens_no_socket(tmp_path: Path) -> None:
    """Not with all that is installed and measured here, either: nobody asks a hub for a model."""
    code = f"""
import socket, sys

def refused(*_, **__):
    raise AssertionError("it opened a socket")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refused
from harmonia_compiler.cli.main import run
ended = run(["plan", {QUICKSTART!r}, "--inventory", {LAPTOP!r}])
assert not {{"aiohttp", "grpc"}} & {{*sys.modules}}, "it loaded a client, which takes a quarter of its start"
sys.exit(ended)
"""
    environment = {"HARMONIA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == FINE, done.stderr


def test_guessed_sizes_are_flagged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "ask.rag"
    source.write_text(IMPATIENT.replace("1 ms", "10 min"))
    assert run(["plan", str(source), "--inventory", LAPTOP]) == FINE
    assert "Sizes are guessed for: answer" in capsys.readouterr().out


def test_no_plan_exits_with_its_own_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "ask.rag"
    source.write_text(IMPATIENT)
    assert run(["plan", str(source), "--inventory", LAPTOP]) == INFEASIBLE
    out, err = capsys.readouterr()
    assert "E0724" in err
    assert "1 ms" in err
    assert out == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["plan", QUICKSTART, "--inventory", "nowhere.toml"], DIAGNOSTICS),
        (["plan", "nowhere.rag", "--inventory", LAPTOP], DIAGNOSTICS),
        (["plan", QUICKSTART], USAGE),
        (["plan", QUICKSTART, "--inventory", LAPTOP, "--objective", "beauty"], USAGE),
        (["inventory", "show", "nowhere.toml"], DIAGNOSTICS),
    ],
)
def test_mistakes_exit_with_theirs(arguments: list[str], code: int) -> None:
    assert run(arguments) == code


def test_what_is_detected_is_an_inventory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inventory", "detect"]) == FINE
    path = tmp_path / "here.toml"
    path.write_text(capsys.readouterr().out)
    inventory = load_inventory(path)
    assert run(["inventory", "show", str(path)]) == FINE
    assert inventory.hosts[0].name in capsys.readouterr().out
    assert run(["inventory", "show", str(path), "--format", "json"]) == FINE
    assert json.loads(capsys.readouterr().out)["hosts"][0]["cpus"] == inventory.hosts[0].cpus
