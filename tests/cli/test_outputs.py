"""What commands write: never over what they read, and to whatever is there as far as it takes it."""

import errno
import os
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from harmonia_compiler.cli.main import harmoniac, run
from harmonia_compiler.cli.options import GivenPath, OutFile
from harmonia_compiler.cli.outputs import refuse_overwriting, write_output
from harmonia_compiler.cli.plan import command as plan
from harmonia_compiler.diagnostics.diagnostic import Rejected

from .one_host import INVENTORY

HARMONIAC = Path(sys.executable).parent / "harmoniac"
SLOW = pytest.mark.slow
OWN = """import say from "parts.rag"
component small = llm("SmolLM2-135M-Instruct")
component answer(question: text) -> text = small(file("prompt.txt"))
component count(t: text) -> text = python("functions:count")
pipeline ask(question: text) -> text {
    load 1 rps
    return say(count(answer(question)))
}
"""
SHARED = """component say(t: text) -> text = python("functions:say")
"""
FUNCTIONS = """def count(t: str) -> str:
    return t


def say(t: str) -> str:
    return t
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What lies in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    files = {"own.rag": OWN, "parts.rag": SHARED, "prompt.txt": "{question}", "functions.py": FUNCTIONS}
    for name, text in {**files, "one.toml": INVENTORY, "trace.csv": "0\n1\n", "asked.txt": "why?\n"}.items():
        Path(name).write_text(text)
    Path("link").symlink_to("own.rag")
    Path("hard.toml").hardlink_to("one.toml")
    assert run(["plan", "own.rag", "--inventory", "one.toml", "--out", "old.json"]) == 0
    return contents()


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path().iterdir()}


PLAN = "plan own.rag --inventory one.toml"
OVER = {
    "the source": f"{PLAN} --out own.rag",
    "a link to it": f"{PLAN} --out link",
    "it behind a link": "plan link --inventory one.toml --out own.rag",
    "what it imports": f"{PLAN} --out parts.rag",
    "its prompt": f"{PLAN} --html prompt.txt",
    "its functions": f"{PLAN} --html functions.py",
    "the inventory": f"{PLAN} --html one.toml",
    "its other name": f"{PLAN} --html hard.toml",
    "the plan that runs": f"{PLAN} --from old.json --out old.json",
    "the plan it is compared with": f"{PLAN} --diff old.json --html ./old.json",
    "the source, with a frontier": f"{PLAN} --frontier --svg own.rag",
    "the inventory, with a report": "simulate own.rag --inventory one.toml --for 1s --html one.toml",
    "the trace": "simulate own.rag --inventory one.toml --trace trace.csv --html trace.csv",
    "the source, with a rehearsal": "rehearse own.rag --inventory one.toml --for 1s --html own.rag",
    "the questions": "bench http://127.0.0.1:1 --rate 1 --for 1s --questions asked.txt --html asked.txt",
    "the recording": "bench http://127.0.0.1:1 --trace trace.csv --html trace.csv",
    "what is profiled": "profile own.rag --component answer --out parts.rag",
    "another output": f"{PLAN} --out new --html ./new",
    "another output that is there": f"{PLAN} --out old.json --html old.json",
}


@pytest.mark.parametrize("what", OVER)
def test_what_is_read_is_not_overwritten(
    project: dict[str, bytes], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(OVER[what].split()) == 1
    said = capsys.readouterr().err
    assert "error[E1134]" in said, said
    assert "planned in" not in said
    assert contents() == project


@pytest.mark.parametrize("name", ["plan.json", "run/state.json", "new.json"])
def test_nothing_is_written_into_a_folder_that_is_read(tmp_path: Path, name: str) -> None:
    read, written = [*PLAN.split()[1:], "--readings", str(tmp_path)], tmp_path / name
    with plan.make_context("plan", [*read, "--out", str(written)]), pytest.raises(Rejected) as rejected:
        refuse_overwriting()
    (found,) = rejected.value.found
    assert (found.code, found.message) == ("E1134", f"`--out` would write into `{tmp_path}`, which is read")
    with plan.make_context("plan", [*read, "--out", f"{tmp_path}.json"]):
        refuse_overwriting()


def test_a_file_is_no_folder_to_write_into(project: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"{PLAN} --out own.rag/x".split()) == 1
    assert "`--out` would write into `own.rag`, which is read" in capsys.readouterr().err
    assert contents() == project


@pytest.mark.parametrize("line", ["--out /dev/stdout", "--html /dev/stdout --out /dev/stderr", "--html printed"])
def test_what_is_printed_and_what_is_written_stand_one_after_the_other(project: dict[str, bytes], line: str) -> None:
    """Where stdout goes to a file, of which there is something already."""
    Path("printed").write_text("before\n")
    with Path("printed").open("a") as printed, Path("said").open("w") as said:
        command = [str(HARMONIAC), *PLAN.split(), *line.split()]
        assert subprocess.run(command, stdout=printed, stderr=said, check=False).returncode == 0
    text, plan_text = Path("printed").read_text(), project["old.json"].decode()
    before, _, tables = text.partition(plan_text if "--html" not in line else "</html>\n")
    assert before.startswith("before\n")
    assert before == "before\n" or before.startswith("before\n<!")
    assert "p95" in tables
    assert (plan_text in Path("said").read_text()) == ("stderr" in line)
    assert "planned in" in Path("said").read_text()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize("how", ["> there", "| cat > there"])
def test_what_was_printed_before_stands_before(tmp_path: Path, name: str, how: str) -> None:
    program = (
        "import sys; from pathlib import Path; from harmonia_compiler.cli.outputs import write_output\n"
        "print('before'); write_output(Path(sys.argv[1]), b'written\\n'); print('after')"
    )
    command = ["bash", "-c", f'"$@" {how}', "bash", sys.executable, "-c", program, name]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    subprocess.run(command, cwd=tmp_path, env=buffered, check=True)
    assert (tmp_path / "there").read_text() == "before\nwritten\nafter\n"


@pytest.mark.parametrize(
    ("option", "how"),
    [
        *(("--out", how) for how in ("9>there", "9>>there", "9>&1 | cat >there", "9>/dev/null", "9</dev/null")),
        *(("--html", how) for how in ("9>>there", "9</dev/null")),
        # What is written is given to the same function.
        *(pytest.param("--html", how, marks=SLOW) for how in ("9>there", "9>&1 | cat >there", "9>/dev/null")),
    ],
)
def test_a_descriptor_that_the_shell_opened_is_written_to_as_it_was_opened(
    project: dict[str, bytes], how: str, option: str
) -> None:
    Path("there").write_text("before\n")
    line = f"set -o pipefail; {{ {HARMONIAC} {PLAN} {option} /dev/fd/9 > printed; }} {how}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    there = Path("there").read_bytes()
    assert done.returncode == (1 if "<" in how else 0), done.stderr
    assert ("error[E1131]: `/dev/fd/9`" in done.stderr) == ("<" in how)
    if "there" not in how:
        assert there == b"before\n"
    else:
        assert there.startswith(b"before\n") == (">>" in how)
        written = there.removeprefix(b"before\n")
        assert written == project["old.json"] if option == "--out" else written.endswith(b"</html>\n")


def test_a_socket_takes_what_is_written(tmp_path: Path) -> None:
    """It cannot be opened by its name; and what does not wait, is waited for."""
    reader, writer = socket.socketpair()
    taken: list[bytes] = []

    def read() -> None:
        while piece := reader.recv(1 << 16):
            taken.append(piece)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    writer.setblocking(False)  # noqa: FBT003
    (tmp_path / "link").symlink_to(f"/dev/fd/{writer.fileno()}")
    write_output(tmp_path / "link", bytes(1 << 20))
    assert not os.get_blocking(writer.fileno())
    writer.close()
    reading.join()
    reader.close()
    assert sum(map(len, taken)) == 1 << 20


def test_a_descriptor_that_is_not_open_is_a_diagnostic(
    project: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*PLAN.split(), "--out", "/dev/fd/987"]) == 1
    assert "error[E1133]: `/dev/fd/987` cannot be used" in capsys.readouterr().err
    assert contents() == project


def limited(path: Path, most: int) -> "subprocess.CompletedProcess[str]":
    """Write a plan of more bytes than a file may have here."""
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from harmonia_compiler.cli.outputs import write_output\n"
        "from harmonia_compiler.diagnostics.diagnostic import Rejected\n"
        f"signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))\n"
        "try:\n    write_output(Path(sys.argv[1]), bytes(4096))\nexcept Rejected as rejected:\n    print(rejected)"
    )
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_an_earlier_output_stays_where_there_is_no_room(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("an earlier one")
    assert f"E1131: `{old}` cannot be written: File too large" in limited(old, 1024).stdout
    assert [*tmp_path.iterdir()] == [old]
    assert old.read_text() == "an earlier one"
    assert limited(old, 8192).stdout == ""
    assert old.read_bytes() == bytes(4096)


def test_of_a_new_output_nothing_is_left_where_there_is_no_room(tmp_path: Path) -> None:
    new = tmp_path / "new.json"
    assert "File too large" in limited(new, 1024).stdout
    assert [*tmp_path.iterdir()] == []


def test_an_earlier_output_may_have_the_longest_of_names(tmp_path: Path) -> None:
    for old in (tmp_path / ("\N{CLINKING BEER MUGS}" * 63), tmp_path / ("h" * 255)):
        old.write_text("an earlier one")
        write_output(old, b"a plan")
        assert old.read_text() == "a plan"


def test_what_cannot_be_replaced_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file that is mounted into a container by itself."""

    def busy(place: Path, content: bytes, mode: int) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(place))

    monkeypatch.setattr("harmonia_compiler.cli.outputs.write_whole", busy)
    old = tmp_path / "old.json"
    old.write_text("an earlier one")
    write_output(old, b"a plan")
    assert old.read_text() == "a plan"


@pytest.mark.skipif(sys.platform != "linux", reason="attributes are Linux's here")
def test_attributes_of_an_earlier_output_stay(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("an earlier one")
    try:
        os.setxattr(old, "user.origin", b"ours")
    except OSError as problem:
        pytest.skip(f"no attributes here: {problem.strerror}")
    write_output(old, b"a plan")
    assert (old.read_text(), os.getxattr(old, "user.origin")) == ("a plan", b"ours")


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root may give a file to no other group")
def test_the_group_of_an_earlier_output_stays(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("an earlier one")
    os.chown(old, -1, 12_345)
    write_output(old, b"a plan")
    assert (old.read_text(), old.stat().st_gid) == ("a plan", 12_345)


def test_what_takes_the_place_of_an_earlier_output_is_as_that_was(tmp_path: Path) -> None:
    """Its mode, its names, and the link that leads to it."""
    old, link, other = tmp_path / "old.json", tmp_path / "link", tmp_path / "other"
    old.write_text("an earlier one")
    old.chmod(0o640)
    link.symlink_to(old)
    write_output(link, b"a plan")
    assert link.is_symlink()
    assert (old.read_text(), old.stat().st_mode & 0o777) == ("a plan", 0o640)
    other.hardlink_to(old)
    write_output(old, b"another")
    assert other.read_text() == "another"
    assert {*tmp_path.iterdir()} == {old, link, other}


def opened(path: str, flags: int) -> int:
    """A descriptor of a file, or of a pipe that nobody reads any more."""
    if path:
        return os.open(path, flags)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(
    ("path", "flags", "why", "step"),
    [
        ("/dev/null", os.O_RDONLY, "Bad file descriptor", "open it for writing, or name a file"),
        ("", 0, "Broken pipe", "see that whoever reads it reads to its end, or name a file"),
        ("/dev/full", os.O_WRONLY, "No space left on device", "make room there, or name another file"),
    ],
)
def test_the_next_step_is_one_for_what_went_wrong(path: str, flags: int, why: str, step: str) -> None:
    descriptor = opened(path, flags)
    try:
        with pytest.raises(Rejected) as rejected:
            write_output(Path(f"/dev/fd/{descriptor}"), b"a plan")
    finally:
        os.close(descriptor)
    (found,) = rejected.value.found
    assert (found.code, found.help) == ("E1131", step)
    assert found.message == f"`/dev/fd/{descriptor}` cannot be written: {why}"


@pytest.mark.parametrize(("name", "closed"), [("stdout", ">&-"), ("stderr", "2>&-")])
def test_what_is_printed_to_and_was_closed_takes_no_file(project: dict[str, bytes], name: str, closed: str) -> None:
    line = f"{HARMONIAC} {PLAN} --out /dev/{name} {closed}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = f"error[E1131]: `/dev/{name}` cannot be written: Bad file descriptor"
    assert said in done.stderr or name == "stderr"
    assert contents() == project


def test_an_earlier_output_is_overwritten(project: dict[str, bytes]) -> None:
    Path("old.json").write_text("an earlier one")
    assert run(f"{PLAN} --out old.json".split()) == 0
    assert contents() == project
    assert run(f"{PLAN} --out /dev/null --html /dev/null".split()) == 0


def test_every_command_that_writes_a_file_is_among_these() -> None:
    writing = {
        name
        for name in harmoniac.list_commands(click.Context(harmoniac))
        if (command := harmoniac.get_command(click.Context(harmoniac), name)) is not None
        and any(isinstance(parameter.type, OutFile) for parameter in command.params)
    }
    # An export takes the place of an earlier export alone.
    assert writing - {"ingest"} == {line.split()[0] for line in OVER.values()}


def outputs() -> list[tuple[str, str]]:
    """Every option that names a file or folder to write, with its command."""
    context = click.Context(harmoniac)
    commands = {name: harmoniac.get_command(context, name) for name in harmoniac.list_commands(context)}
    return [
        (name, parameter.opts[0])
        for name, command in commands.items()
        for parameter in (command.params if command is not None else ())
        if isinstance(parameter.type, GivenPath) and parameter.type.written
    ]


@pytest.mark.parametrize(("name", "option"), outputs())
def test_no_file_is_called_as_stdout_is(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([name, option, "-"]) == 1
    said = capsys.readouterr().err
    assert f"error[E1133]: `-` was given for `{option}`" in said
    assert "`./-` is one of that name" in said
    assert [*tmp_path.iterdir()] == []


def test_every_option_that_writes_is_among_those() -> None:
    """By their names: whoever adds one says that it is written."""
    context = click.Context(harmoniac)
    named = {
        (name, option)
        for name in harmoniac.list_commands(context)
        if (command := harmoniac.get_command(context, name)) is not None
        for parameter in command.params
        for option in parameter.opts
        if option in ("--out", "--output", "--html", "--svg", "--export")
    }
    assert named == {*outputs()}


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Rejected, match="nobody reads from it"):
        write_output(tmp_path / "pipe", b"a plan")


def test_a_pipe_is_written_to_by_one_who_waits(tmp_path: Path) -> None:
    """And does not try again and again while it is full."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writing = threading.Thread(target=write_output, args=(pipe, bytes(1 << 20)), daemon=True)
    writing.start()
    select.select([reader], [], [])
    opened = [int(one.name) for one in Path("/proc/self/fd").iterdir() if one.exists() and one.samefile(pipe)]
    assert len(opened) == 2
    assert [os.get_blocking(one) for one in opened if one != reader] == [True]
    os.set_blocking(reader, True)
    while os.read(reader, 1 << 16):
        pass
    os.close(reader)
    writing.join()


@pytest.mark.parametrize("option", ["--out", "--html"])
def test_a_pipe_that_is_read_takes_what_it_holds_by_and_by(project: dict[str, bytes], option: str) -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    taken: list[bytes] = []

    def read() -> None:
        while piece := os.read(reader, 4096):
            taken.append(piece)

    reading = threading.Thread(target=read, daemon=True)
    # A pipe that nobody writes to yet has ended.
    writer = os.open("pipe", os.O_WRONLY)
    reading.start()
    assert run(f"{PLAN} {option} pipe".split()) == 0
    os.close(writer)
    reading.join()
    os.close(reader)
    whole = b"".join(taken)
    assert whole == project["old.json"] if option == "--out" else whole.endswith(b"</html>\n")


def test_a_reader_that_leaves_is_a_diagnostic(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    leave = threading.Thread(target=leaves_when_full, args=(reader,), daemon=True)
    leave.start()
    with pytest.raises(Rejected, match="E1131"):
        write_output(tmp_path / "pipe", bytes(1 << 20))
    leave.join()


def leaves_when_full(reader: int) -> None:
    """Wait for the first bytes, and close the pipe."""
    select.select([reader], [], [])
    os.close(reader)


@pytest.mark.parametrize(
    "line",
    [
        f"{PLAN} --out",
        f"{PLAN} --html",
        f"{PLAN} --frontier --svg",
        "simulate own.rag --inventory one.toml --rate 5 --for 9s --html",
    ],
)
def test_a_full_disk_is_said_with_the_file(
    project: dict[str, bytes], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*line.split(), "/dev/full"]) == 1
    assert "error[E1131]: `/dev/full` cannot be written: No space left on device" in capsys.readouterr().err
    assert contents() == project
