"""Bundles for Slurm: their scripts ask for what the plan says, and nothing in them is more than a word."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.inventory import Gpu, Host
from harmonia_compiler.contract.launch import ALLOWED_HOSTS, FOR_GATEWAY, GATEWAY_PROCESSES
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.site import parse_site
from harmonia_compiler.contract.slurm import JOB, SCRIPT, SlurmJob
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.emit.bundle import write_bundle
from harmonia_compiler.emit.emission import make_emission
from harmonia_compiler.emit.targets.slurm import faults, files
from harmonia_compiler.emit.targets.slurm_script import options_of
from tests.emit.conftest import ROOT, Planned, planned
from tests.emit.sweep import shellcheck

ANYWHERE = 'nodes = "any"\nsubmit_from_nodes = true\nscale_out = 2\n'
ANY = f'[slurm]\n{ANYWHERE}wall_time = "02:00:00"\n'

MODULES = '[slurm]\nmodules = ["python/3.11", "cuda"]\n'


def placed(made: Planned, *places: tuple[str, tuple[int, ...], float], types: Sequence[str] = ("a100_sxm",)) -> Planned:
    """The same with its replicas on these hosts, GPUs and cores, as far as they go, and again from the first.

    So it goes by the types of their GPUs.
    """
    replicas = []
    for at, replica in enumerate(made.plan.replicas):
        host, devices, cores = places[at % len(places)]
        gpu = types[at % len(types)] if devices else ""
        config = Configuration(cores, replica.memory_gib, gpu, float(len(devices)), batch=4)
        replicas.append(msgspec.structs.replace(replica, host=host, devices=devices, cores=cores, config=config))
    return Planned(made.application, msgspec.structs.replace(made.plan, replicas=tuple(replicas)), made.root)


def emitted(made: Planned, site: str = "", hosts: Sequence[Host] = ()) -> dict[str, bytes]:
    described = parse_site(Source("site.toml", site))
    emission = make_emission(made.plan, made.application, made.root, described, hosts)
    found = files(emission)
    assert not faults(emission, found)
    return found


def test_hosts_of_which_equally_much_is_taken_are_one_component(quickstart: Planned) -> None:
    made = placed(quickstart, ("front", (), 2.0), ("b", (), 1.0), ("c", (), 1.0))
    first, second = options_of(emitted(made)[SCRIPT])
    assert (first["nodelist"], first["cpus-per-task"]) == ("front", str(2 * sum(
        one.host == "front" for one in made.plan.replicas
    )))  # fmt: skip
    alike = {one.host for one in made.plan.replicas} - {"front"}
    assert set(second["nodelist"].split(",")) <= alike
    assert second["exclusive"] == ""


def test_gpus_are_asked_for_up_to_the_last_one_that_the_plan_names(quickstart: Planned) -> None:
    made = placed(quickstart, ("large", (0,), 1.0), ("large", (2, 3), 2.0), ("plain", (), 1.0))
    found = emitted(made, '[slurm]\ngpu_types = {a100_sxm = "a100"}\n')
    first, second = options_of(found[SCRIPT])
    assert (first["gres"], "gres" in second) == ("gpu:a100:4", False)
    steps = msgspec.json.decode(found[JOB], type=SlurmJob).steps
    assert [(step.devices, step.gres, step.overlap) for step in steps[:3]] == [
        ((0,), "gpu:a100:4", True),
        ((2, 3), "gpu:a100:4", True),
        ((), "", False),
    ]
    assert options_of(emitted(made, '[slurm]\ngres = "untyped"\n')[SCRIPT])[0]["gres"] == "gpu:4"


#: Two GPUs of one type before two of another, and one more of the first.
BOTH = Host("both", 16, 256.0, (Gpu("a100_sxm", 2), Gpu("l40s", 2), Gpu("a100_sxm")))


@pytest.mark.parametrize(
    ("gpus", "asked", "steps", "counted"),
    [
        # The first of the second type alone, and with one of the first.
        ([("l40s", (2,))], "gpu:l40s:1", ["gpu:l40s:1"], [(0,)]),
        ([("l40s", (2, 3))], "gpu:l40s:2", ["gpu:l40s:2"], [(0, 1)]),
        (
            [("a100_sxm", (0,)), ("l40s", (3,))],
            "gpu:a100_sxm:1,gpu:l40s:2",
            ["gpu:a100_sxm:1", "gpu:l40s:2"],
            [(0,), (1,)],
        ),
        (
            [("l40s", (2,)), ("a100_sxm", (4,))],
            "gpu:a100_sxm:3,gpu:l40s:1",
            ["gpu:l40s:1", "gpu:a100_sxm:3"],
            [(0,), (2,)],
        ),
    ],
)
def test_gpus_of_a_host_with_several_types_are_asked_for_by_type(
    quickstart: Planned,
    gpus: list[tuple[str, tuple[int, ...]]],
    asked: str,
    steps: list[str],
    counted: list[tuple[int, ...]],
) -> None:
    made = placed(quickstart, *(("both", devices, 1.0) for _, devices in gpus), types=[gpu for gpu, _ in gpus])
    # Where the nodes are not the plan's, or not the job's alone, GPUs are counted among those of the type.
    for site, kept in (("", [devices for _, devices in gpus]), ("exclusive = false", counted), (ANYWHERE, counted)):
        found = emitted(made, f"[slurm]\n{site}\n", [BOTH])
        assert [options["gres"] for options in options_of(found[SCRIPT])] == [asked]
        first = msgspec.json.decode(found[JOB], type=SlurmJob).steps[: len(gpus)]
        assert [(step.gres, step.devices) for step in first] == [*zip(steps, kept, strict=True)]
    # A replica on top takes as many as it uses.
    more = {options_of(script)[0]["gres"] for name, script in found.items() if "more" in name}
    assert more <= {f"gpu:{gpu}:{len(devices)}" for gpu, devices in gpus}
    assert more


def test_replicas_of_less_than_a_core_share_cores(quickstart: Planned) -> None:
    made = placed(quickstart, ("laptop", (), 0.25))
    found = emitted(made)
    (only,) = options_of(found[SCRIPT])
    assert only["cpus-per-task"] == "1"
    assert all(step.overlap for step in msgspec.json.decode(found[JOB], type=SlurmJob).steps)


def test_only_a_job_for_any_nodes_leaves_their_names_open(quickstart: Planned) -> None:
    assert all("nodelist" in options for options in options_of(emitted(quickstart)[SCRIPT]))
    assert not any("nodelist" in options for options in options_of(emitted(quickstart, ANY)[SCRIPT]))


def test_the_signal_comes_before_the_wall_time(quickstart: Planned) -> None:
    (only,) = options_of(emitted(quickstart, ANY)[SCRIPT])
    assert (only["signal"], only["time"]) == ("B:TERM@60", "0-02:00:00")
    assert "signal" not in options_of(emitted(quickstart)[SCRIPT])[0]


def test_only_what_keeps_nothing_may_have_more_replicas_and_each_engine_one_script_for_them(
    quickstart: Planned,
) -> None:
    found = emitted(quickstart, ANY)
    job = msgspec.json.decode(found[JOB], type=SlurmJob)
    kinds = {one.id: quickstart.plan.engines[one.engine].kind for one in quickstart.plan.replicas}
    assert {one.like for one in job.further} == {name for name, kind in kinds.items() if kind != "milvus"}
    assert all(len(one.names) == 2 and "nodelist" not in options_of(found[one.script])[0] for one in job.further)
    assert not [name for name in emitted(quickstart) if "more" in name]


def test_a_bundle_names_no_machine_and_is_the_same_each_time(quickstart: Planned, tmp_path: Path) -> None:
    one, two = quickstart.write(tmp_path / "one", "slurm"), quickstart.write(tmp_path / "two", "slurm")
    assert one == two
    assert not [name for name, text in one.items() if str(ROOT) in text or str(tmp_path) in text]


def test_a_script_that_says_something_else_is_found_out(quickstart: Planned) -> None:
    emission = make_emission(quickstart.plan, quickstart.application, quickstart.root)
    written = files(emission)
    for right, wrong in (
        (b"--mem=", b"--mem=1"),
        (b"--nodelist=laptop", b"--nodelist=other"),
        (b"--nodes=1", b"--nodes=2"),
    ):
        assert right in written[SCRIPT]
        assert faults(emission, {**written, SCRIPT: written[SCRIPT].replace(right, wrong)})


HOSTILE = [
    "$(reboot)",
    "${HOME}",
    "`id`",
    "a\n#SBATCH --wrap=reboot",
    "--wrap=reboot",
    "../../etc/passwd",
    "a\u202eb",
    "'; reboot",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_prompts_and_settings_reach_no_script_and_come_through_as_data(text: str, tmp_path: Path) -> None:
    source = tmp_path / "app.rag"
    written = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("{", "{{").replace("}", "}}")
    source.write_text(
        'component small = llm("SmolLM2-135M-Instruct")\n'
        f'component say(question: text) -> text ~ 8 tokens = small("{written} {{question}}", stop: "{written}")\n'
        "pipeline talk(question: text ~ 9 tokens) -> text {\n    load 1 rps\n    return say(question)\n}\n",
        encoding="utf-8",
    )
    found = emitted(planned(source, root=tmp_path), ANY)
    scripts = [content.decode() for name, content in found.items() if name.endswith(".sbatch")]
    assert scripts
    assert not [script for script in scripts if text in script or "reboot" in script]
    assert all(subprocess.run(["bash", "-n"], input=script.encode(), check=False).returncode == 0 for script in scripts)


@pytest.mark.parametrize("text", [*HOSTILE, "", "a b"])
def test_a_hostile_name_of_a_host_is_no_name(text: str, quickstart: Planned, tmp_path: Path) -> None:
    made = placed(quickstart, (text, (), 1.0))
    with pytest.raises((RuntimeError, msgspec.MsgspecError)):
        write_bundle(made.plan, made.application, target="slurm", out=tmp_path / "bundle", root=ROOT)
    assert not (tmp_path / "bundle").exists()


def test_every_script_is_one_that_bash_and_shellcheck_take(quickstart: Planned, tmp_path: Path) -> None:
    site = f'{ANY}modules = ["python/3.11"]\nvenv = "/shared/venv"\n'
    scripts = []
    for name, content in emitted(placed(quickstart, ("a", (), 1.0), ("b", (0,), 2.0)), site).items():
        if name.endswith(".sbatch"):
            scripts.append(tmp_path / Path(name).name)
            scripts[-1].write_bytes(content)
            subprocess.run(["bash", "-n", scripts[-1]], check=True)
    shellcheck(scripts)


#: As sites have it: it takes variables that are not set, runs what fails, and is there for some modules only.
INIT = """\
echo "$NOT_SET" >/dev/null
false
module() { echo "$NOT_SET$MODULEPATH: $*"; PATH="$MODULESHOME/$2:$PATH"; [ "$2" != none ]; }
"""


def started_by_slurm(script: bytes, folder: Path, **outer: str) -> tuple[int, list[str]]:
    """Run a script with what it exports of an environment alone, and `python3` that says that it runs; its log."""
    log = folder / "run/logs/job-7.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/python3").write_text("#!/bin/sh\necho started\n")
    (folder / "bin/python3").chmod(0o755)
    there = {"PATH": f"{folder}/bin:/usr/bin:/bin", "BASH_ENV": f"{folder}/none", "KEY": "secret", **outer}
    exported = options_of(script)[0]["export"].split(",")
    seen = {name: value for name, value in there.items() if name in exported} | {"SLURM_JOB_ID": "7"}
    (folder / "job").write_bytes(script)
    done = subprocess.run(["/bin/bash", "job"], env=seen, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")
    return done.returncode, log.read_text().splitlines()


def test_modules_are_loaded_though_the_shell_of_a_job_has_no_module(quickstart: Planned, tmp_path: Path) -> None:
    (tmp_path / "init").mkdir()
    (tmp_path / "init/bash").write_text(INIT)
    # What a module brings comes after the environment that `up` runs in.
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda/python3").symlink_to("/bin/false")
    where = {"MODULESHOME": str(tmp_path), "MODULEPATH": "/site/modules"}
    code, said = started_by_slurm(emitted(quickstart, MODULES)[SCRIPT], tmp_path, **where)
    assert said == ["/site/modules: load python/3.11", "/site/modules: load cuda", "started"]
    assert code == 0
    # Nothing starts without one of them.
    code, said = started_by_slurm(emitted(quickstart, MODULES.replace("cuda", "none"))[SCRIPT], tmp_path, **where)
    assert (code, "started" in said) == (1, False)


@pytest.mark.skipif(
    any(Path("/etc/profile.d").glob("*mod*.sh")) or any(Path("/usr/share").glob("*mod*/**/init/bash")),
    reason="this machine has modules",
)
def test_a_node_without_modules_says_so(quickstart: Planned, tmp_path: Path) -> None:
    code, (said,) = started_by_slurm(emitted(quickstart, MODULES)[SCRIPT], tmp_path)
    assert code == 1
    assert said.startswith("no `module` is set up on this node")
    assert "MODULESHOME" not in options_of(emitted(quickstart)[SCRIPT])[0]["export"]


@pytest.mark.parametrize("hosts", [("laptop",), ("a", "b"), ("n1", "n2", "n3", "n4")])
@pytest.mark.parametrize("sample", sorted(path.stem for path in (ROOT / "samples").glob("*.rag")))
def test_every_sample_on_one_host_and_on_several_reads_back_as_its_plan(sample: str, hosts: tuple[str, ...]) -> None:
    made = planned(ROOT / f"samples/{sample}.rag", root=ROOT).on_hosts(*hosts)
    for name, content in emitted(made, ANY).items():
        if name.endswith(".sbatch"):
            subprocess.run(["bash", "-n"], input=content, check=True)


def test_an_environment_that_the_site_names_and_a_node_has_not_ends_the_job(
    quickstart: Planned, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    script = emitted(quickstart, f'[slurm]\nvenv = "{venv}"\n')[SCRIPT]
    code, (said,) = started_by_slurm(script, tmp_path)
    assert code == 1
    assert said == f"there is no {venv}/bin/python3 on this node, which the `venv` of the site profile names"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python3").symlink_to("/bin/echo")
    code, (said,) = started_by_slurm(script, tmp_path)
    assert code == 0
    assert said.startswith("-P -m harmonia_compiler.")


def test_what_the_gateway_takes_from_whoever_starts_it_reaches_the_job(quickstart: Planned) -> None:
    for name, script in emitted(quickstart, ANY).items():
        if name.endswith(".sbatch"):
            assert {ALLOWED_HOSTS, GATEWAY_PROCESSES} == {*FOR_GATEWAY} <= {*options_of(script)[0]["export"].split(",")}


@pytest.mark.parametrize(
    ("site", "change"),
    [
        ("", {"devices": (0, 3)}),
        ("", {"devices": (1,)}),
        ("exclusive = false\n", {"devices": (0,)}),
        ("", {"gres": "gpu:a100_sxm:4"}),
        ("", {"gres": "gpu:l40s:3"}),
    ],
)
def test_a_step_that_has_other_gpus_than_its_replica_is_found_out(
    quickstart: Planned, site: str, change: dict[str, object]
) -> None:
    made = placed(quickstart, ("laptop", (1, 2), 1.0))
    emission = make_emission(
        made.plan, made.application, made.root, parse_site(Source("site.toml", f"[slurm]\n{site}"))
    )
    written = files(emission)
    assert not faults(emission, written)
    job = msgspec.json.decode(written[JOB], type=SlurmJob)
    first = msgspec.structs.replace(job.steps[0], **change)
    changed = msgspec.structs.replace(job, steps=(first, *job.steps[1:]))
    assert faults(emission, {**written, JOB: msgspec.json.encode(changed)})
