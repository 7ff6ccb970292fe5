"""A kind that is added as one file, or by another distribution, is found everywhere that a kind is looked for.

Each run is a process of its own, since what is installed is looked up once in a process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.component import Engine

#: All that a new kind is.
KIND = '''
"""`shout`: says a text more loudly."""

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.launch import Fill, Launch, Probe, Reply
from harmonia_compiler.contract.types import Text
from harmonia_compiler.kinds.kind import Extent, Kind, Setting, Signature, Work
from harmonia_compiler.kinds.openai import post


def launch(engine, card, configuration):
    return Launch((Fill("python"), "-m", "shouting.server", "--port", Fill("port")), Probe("http"))


KIND = Kind(
    name="shout",
    doc="Says a text more loudly.",
    settings=(
        Setting("voice", "text", "whose voice it is", required=True),
        Setting("loudness", "integer", "how loudly", scope="call", default=3, minimum=1, maximum=11),
    ),
    unnamed="voice",
    signature=Signature((Port("text", Text()),), Text()),
    transport="http",
    runs_on=("cpu",),
    work=lambda component, inputs, result: Work(core_ms=4.0),
    result_extent=lambda component, inputs=None: Extent(10.0),
    launch=launch,
    encode=lambda engine, component, inputs, *, stream: post("/shout", dict(inputs)),
    decode=lambda component, body, inputs=None: Reply(body.decode()),
    example='component loud = shout("stentor")',
)
'''

#: What a kind that is made from another one needs.
DERIVED = """
from msgspec.structs import replace
from harmonia_compiler.kinds.kind import Fault, Slip
"""

APPLICATION = """
component loud = shout("stentor", loudness: 7)
pipeline p(q: text) -> text { return loud(q) }
"""

INVENTORY = """
[[hosts]]
name = "box"
cpus = 4
memory_gib = 16
"""

#: Runs command lines in one process and prints, as JSON, what each printed and how it ended.
RUNNER = """
import contextlib, io, json, sys
import harmonia_compiler.kinds as package
package.__path__ += filter(None, sys.argv[1:2])
from harmonia_compiler.cli.main import run
from harmonia_compiler.cli.reference import names, reference
results = []
for line in json.loads(sys.argv[2]):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(line)
    results.append([code, *(stream.buffer.getvalue().decode() for stream in (out, err))])
results.append([0, reference(names()["kinds"]) if len(sys.argv) > 3 else "", ""])
print(json.dumps(results))
"""


def run(folder: Path, *lines: list[str], kinds: str = "", document: bool = False) -> list[tuple[int, str, str]]:
    """What each command line gave, and the reference of all kinds; `kinds` is one more folder of kinds."""
    words = [sys.executable, "-c", RUNNER, kinds, json.dumps(lines), *(["document"] if document else [])]
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    results: list[tuple[int, str, str]] = [tuple(one) for one in json.loads(done.stdout)]
    return results


def distribution(folder: Path, name: str, points: dict[str, str], **modules: str) -> None:
    """A distribution as an installer leaves it, beside its modules."""
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{point} = {value}\n" for point, value in points.items())
    (about / "entry_points.txt").write_text(f"[harmonia_compiler.kinds]\n{lines}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.rag").write_text(APPLICATION)
    (tmp_path / "box.toml").write_text(INVENTORY)
    return tmp_path


EVERYWHERE = [
    ["check", "app.rag"],
    ["graph", "app.rag"],
    ["explain", "shout"],
    ["plan", "app.rag", "--inventory", "box.toml", "--format", "json"],
    ["explain"],
]


def found_everywhere(results: list[tuple[int, str, str]]) -> None:
    assert [code for code, _, _ in results] == [0] * 6, results
    _, graph, explained, planned, listed, document = (out for _, out, _ in results)
    assert "loud" in graph
    assert "# `shout`\n\nSays a text more loudly.\n\n    component loud = shout" in explained
    assert "- `loudness`: how loudly. A whole number from 1 to 11; 3 where it is not said." in explained
    plan: dict[str, Any] = json.loads(planned)
    assert plan["engines"]["loud"]["kind"] == "shout"
    assert [replica["engine"] for replica in plan["replicas"]] == ["loud"] * len(plan["replicas"]) != []
    assert "shout" in listed.splitlines()[0]
    assert "## `shout`\n\nSays a text more loudly." in document


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("KIND = Kind(", ""),
        ("KIND: Kind = Kind(", ""),
        ("made = Kind(", f"{DERIVED}KIND = replace(made)\n"),
    ],
    ids=["plain", "annotated", "derived"],
)
def test_a_new_file_in_the_folder_of_kinds(folder: Path, begin: str, end: str) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "shout.py").write_text(KIND.replace("KIND = Kind(", begin) + end)
    found_everywhere(run(folder, *EVERYWHERE, kinds="more", document=True))


def test_a_kind_of_another_distribution(folder: Path) -> None:
    distribution(folder, "shouting", {"shout": "shouting_kind:KIND"}, shouting_kind=KIND)
    found_everywhere(run(folder, *EVERYWHERE, document=True))


def test_without_either_it_is_unknown(folder: Path) -> None:
    (checked, _) = run(folder, ["check", "app.rag"])
    assert checked[0] == 1
    assert "unknown kind or component `shout`" in checked[2]


def test_what_is_installed_is_offered_for_a_slip(folder: Path) -> None:
    distribution(folder, "shouting", {"shout": "shouting_kind:KIND"}, shouting_kind=KIND)
    (folder / "app.rag").write_text(APPLICATION.replace("shout(", "shuot("))
    checked, explained, _ = run(folder, ["check", "app.rag"], ["explain", "shuot"])
    assert "did you mean `shout`?" in checked[2]
    assert "did you mean shout?" in explained[2]


def test_our_own_kinds_are_not_replaced(folder: Path) -> None:
    stolen = KIND.replace('"shout"', '"llm"')
    distribution(folder, "shouting", {"llm": "shouting_kind:KIND"}, shouting_kind=stolen)
    explained, listed, _ = run(folder, ["explain", "llm"], ["explain"])
    assert "Generates text" in explained[1]
    assert listed[1].splitlines()[0].count("llm") == 1


@pytest.mark.parametrize(
    ("points", "modules", "code", "why"),
    [
        ({"shout": "nowhere:KIND"}, {}, "E0809", "`nowhere:KIND` cannot be loaded (ModuleNotFoundError: "),
        ({"shout": "part:KIND"}, {"part": "1 / 0"}, "E0809", "(ZeroDivisionError: division by zero)"),
        (
            {"shout": "part:KIND"},
            {"part": "raise SystemExit(3)"},
            "E0809",
            "`part:KIND` cannot be loaded (SystemExit: 3)",
        ),
        ({"shout": "part:KIND"}, {"part": ""}, "E0809", "`part:KIND` cannot be loaded (AttributeError: "),
        ({"shout": "part:KIND"}, {"part": "KIND = {}"}, "E0809", "`part:KIND` is no `Kind`, but a `dict`"),
        (
            {"shout": "part:KIND"},
            {"part": KIND.replace('name="shout"', 'name="whisper"')},
            "E0809",
            "it calls itself `whisper`",
        ),
    ],
)
def test_a_kind_that_cannot_be_used(
    folder: Path, points: dict[str, str], modules: dict[str, str], code: str, why: str
) -> None:
    distribution(folder, "shouting", points, **modules)
    checked, explained, listed, _ = run(folder, ["check", "app.rag"], ["explain", "shout"], ["explain"])
    for ended, _, said in (checked, explained):
        assert ended == 1
        assert code in said
        assert why in said
        assert "install another version of `shouting`, or uninstall it" in said
    # It is found where it is written, and listing all kinds loads none.
    assert 'component loud = shout("stentor", loudness: 7)' in checked[2]
    assert listed[0] == 0


@pytest.mark.parametrize(
    ("function", "wrong", "why"),
    [
        ("work", "lambda component, inputs, result: exit(3)", "failed (SystemExit: 3)"),
        pytest.param(
            "work",
            "lambda component, inputs, result: None",
            "gave a `NoneType`, and not a `Work`",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "work",
            'lambda component, inputs, result: Work(core_ms=float("nan"))',
            "is no amount",
            marks=pytest.mark.slow,
        ),
        ("result_extent", "lambda component, inputs=None: 10", "gave a `int`, and not a `Extent`"),
        (
            "work",
            'lambda component, inputs, result: Work(core_ms="many")',
            "expected `float`, got `str` - at `$.core_ms`",
        ),
        pytest.param(
            "launch",
            "lambda engine, card, configuration: 3",
            "gave a `int`, and not a `Launch`",
            marks=pytest.mark.slow,
        ),
        ("launch", "lambda engine, card, configuration: Launch((), Probe('http'))", "length >= 1 - at `$.command`"),
        pytest.param(
            "own_faults",
            'lambda settings: [Fault((), "a", "b")]',
            "does not name settings that it has",
            marks=pytest.mark.slow,
        ),
        ("own_faults", 'lambda settings: [Fault(("volume",), "a", "b")]', "does not name settings that it has"),
        pytest.param(
            "own_faults",
            'lambda settings: [Fault(("timeout",), "a", "b")]',
            "where nothing but defaults stands",
            marks=pytest.mark.slow,
        ),
        pytest.param("own_faults", "lambda settings: [3]", "gave a `int`, and not a `Fault`", marks=pytest.mark.slow),
        ("own_faults", "lambda settings: (1 / 0 for _ in [1])", "failed (ZeroDivisionError: "),
    ],
)
def test_a_kind_whose_function_fails_is_what_is_blamed(folder: Path, function: str, wrong: str, why: str) -> None:
    broken = f"{KIND}\n{DERIVED}\nKIND = replace(KIND, {function}={wrong})\n"
    distribution(folder, "shouting", {"shout": "part:KIND"}, part=broken)
    compiled, _ = run(folder, ["compile", "app.rag", "--inventory", "box.toml", "--out", "bundle"])
    assert compiled[0] == 1, compiled
    assert "E0809" in compiled[2]
    said = " ".join(compiled[2].split())
    assert f"the kind `shout` of the distribution `shouting` cannot be used: its `{function}` " in said
    assert why in said
    assert "bug in harmoniac" not in said


@pytest.mark.parametrize(
    ("slip_in", "why"),
    [
        ("lambda text: 1 / 0", "its `slip_in` of `mood` failed (ZeroDivisionError: division by zero)"),
        ("lambda text: 'no'", "its `slip_in` of `mood` gave a `str`, and not a `Slip`"),
        ("lambda text: Slip(0, 100, 'a', 'b')", "its `slip_in` of `mood` gave the place 0 to 100 of 5 characters"),
    ],
)
def test_a_setting_that_fails_over_a_text_is_what_is_blamed(folder: Path, slip_in: str, why: str) -> None:
    setting = f"Setting('mood', 'text', 'which mood', slip_in={slip_in})"
    part = f"{KIND}{DERIVED}KIND = replace(KIND, settings=(*KIND.settings, {setting}))\n"
    distribution(folder, "shouting", {"shout": "part:KIND"}, part=part)
    (folder / "app.rag").write_text(APPLICATION.replace("loudness: 7", 'mood: "angry"'))
    checked, _ = run(folder, ["check", "app.rag"])
    assert checked[0] == 1, checked
    assert "E0809" in checked[2]
    assert why in " ".join(checked[2].split())


def test_data_that_no_kind_has_is_found_before_anything_relies_on_it(folder: Path) -> None:
    part = f"{KIND}{DERIVED}KIND = replace(KIND, settings=(*KIND.settings, Setting('mood', 'colour', 'which mood')))\n"
    distribution(folder, "shouting", {"shout": "part:KIND"}, part=part)
    (folder / "app.rag").write_text(APPLICATION.replace("loudness: 7", 'mood: "angry"'))
    checked, explained, _ = run(folder, ["check", "app.rag"], ["explain", "shout"])
    for ended, _, said in (checked, explained):
        assert ended == 1
        assert "E0809" in said
        assert "of its setting `mood`, `type` is wrong" in " ".join(said.split())


def test_what_a_kind_adds_to_the_types_of_ours_is_its_own(folder: Path) -> None:
    part = f"""{KIND}{DERIVED}
class Louder(Kind, frozen=True):
    echo: str = "hello"

class Effort(Work, frozen=True):
    note: str = "hello"

class Mood(Setting, frozen=True):
    note: str = "hello"

made = {{name: getattr(KIND, name) for name in KIND.__struct_fields__}}
made["settings"] = [*KIND.settings, Mood("mood", "text", "which mood")]
KIND = Louder(**made | {{"work": lambda component, inputs, result: Effort(core_ms=4.0)}})
"""
    distribution(folder, "shouting", {"shout": "part:KIND"}, part=part)
    found_everywhere(run(folder, *EVERYWHERE, document=True))


def test_two_distributions_with_one_name(folder: Path) -> None:
    distribution(folder, "shouting", {"shout": "part:KIND"}, part=KIND)
    distribution(folder, "crying", {"shout": "part:KIND"})
    checked, _ = run(folder, ["check", "app.rag"])
    assert checked[0] == 1
    assert "E0808" in checked[2]
    assert "several distributions have a kind `shout`: `crying` and `shouting`" in checked[2]


def test_a_gateway_without_it_says_so(folder: Path) -> None:
    service = Service({}, {"loud": Engine("loud", "shout", {})}, {}, {})
    (folder / "service.json").write_bytes(msgspec.json.encode(service))
    words = ["--service", "service.json", "--endpoints", "endpoints.json", "--port", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "harmonia_compiler.runtime.gateway", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == "gateway: no distribution with the kind shout is installed here\n"


def test_checking_our_own_kinds_does_not_look_at_what_is_installed(folder: Path) -> None:
    (folder / "app.rag").write_text('component minilm = embedder("all-MiniLM-L6-v2")\n')
    code = (
        "import sys; from harmonia_compiler.cli.main import run; assert run(['check', 'app.rag']) == 0;"
        "print([name for name in ('importlib.metadata', 'harmonia_compiler.kinds.installed') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stdout.strip().splitlines()[-1] == "[]"
