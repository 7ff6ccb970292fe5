"""The commands that start steps, the GPUs that a launcher takes, and what Slurm's commands say, without a Slurm."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from harmonia_compiler.contract.slurm import SlurmComponent, SlurmSite
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import (
    NOTHING_LEFT,
    NotStarted,
    Status,
)
from harmonia_compiler.runtime.actuators.slurm import ACTUATOR, actuator
from harmonia_compiler.runtime.actuators.slurm.commands import Queued, outside, queue
from harmonia_compiler.runtime.actuators.slurm.folder import JobState, Owner, SharedFolder
from harmonia_compiler.runtime.actuators.slurm.keeping import read_job
from harmonia_compiler.runtime.actuators.slurm.preflight import refused
from harmonia_compiler.runtime.actuators.slurm.srun import Nodes, front_words, matched, step_environment, step_words
from harmonia_compiler.runtime.actuators.slurm.step import devices_here
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked
from harmonia_compiler.runtime.weights import stored_folder, wanted
from tests.emit.conftest import planned

from .service import MIXED, Place, fake, write

NODES = Nodes({"large": "n7", "plain": "n8"}, {"large": "10.0.0.7", "plain": "10.0.0.8"}, is_het=True)


def test_a_step_asks_for_what_its_replica_takes_on_the_node_that_stands_for_its_host(tmp_path: Path) -> None:
    _, job = read_job(write(tmp_path, MIXED))
    words = step_words(job, job.steps[0], NODES, "/shared/bundle", "12.0")
    assert words[0] == "srun"
    asked = {"--nodelist=n7", "--het-group=0", "--cpus-per-task=2", "--mem=512M", "--gres=gpu:a100_sxm:3", "--overlap"}
    assert asked < {*words}
    assert words[-4:] == ["/shared/bundle", "12.0", "see-0", "10.0.0.7"]
    other = step_words(job, job.steps[1], NODES, "/shared/bundle", "12.0")
    assert {"--nodelist=n8", "--het-group=1", "--gres=none", "--exact"} < {*other}
    assert "--overlap" not in other
    assert {"--nodelist=n7", "--overlap", "--gres=none"} < {*front_words(job, NODES, "/shared/bundle", "12.0")}
    for processes, cpus in ((1, 1), (2, 2), (64, job.components[0].cpus)):
        assert f"--cpus-per-task={cpus}" in front_words(job, NODES, "/shared/bundle", "12.0", processes)


def test_an_image_holds_the_replicas_and_sees_the_bundle_and_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "hub").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    stored = stored_folder(wanted("all-MiniLM-L6-v2"))
    stored.mkdir(parents=True)
    (stored / "weights").symlink_to(elsewhere)
    _, job = read_job(write(tmp_path, MIXED, '[slurm]\nimage = "/shared/h.sif"\n'))
    words = step_words(job, job.steps[0], NODES, "/shared/bundle", "12.0", "all-MiniLM-L6-v2")
    inside = words[words.index("apptainer") : words.index("/shared/h.sif")]
    seen = ["/shared/bundle", str(tmp_path / "home/models"), str(elsewhere), str(tmp_path / "hub")]
    assert inside == ["apptainer", "exec", "--nv", *(f"--bind={folder}" for folder in seen)]
    assert words[words.index("/shared/h.sif") + 1 :][:3] == ["python3", "-P", "-m"]
    other = step_words(job, job.steps[1], NODES, "/shared/bundle", "12.0")
    assert other[other.index("apptainer") : other.index("/shared/h.sif")] == [
        "apptainer",
        "exec",
        "--bind=/shared/bundle",
    ]
    assert "apptainer" not in front_words(job, NODES, "/shared/bundle", "12.0")


def test_hosts_are_their_namesakes_among_the_nodes_and_else_any_of_them() -> None:
    component = SlurmComponent(("a", "b", "c"), 1, 1)
    assert matched(component, ["c", "a", "b"]) == {"a": "a", "b": "b", "c": "c"}
    assert matched(component, ["x", "b", "y"]) == {"a": "x", "b": "b", "c": "y"}


def test_a_step_does_not_take_the_gpus_of_the_batch_script_for_its_own() -> None:
    assert step_environment({"CUDA_VISIBLE_DEVICES": "0", "PATH": "p"}) == {"PATH": "p", "SLURM_EXPORT_ENV": "ALL"}


def test_a_job_from_inside_a_job_knows_nothing_of_the_one_it_is_from_but_what_the_user_chose() -> None:
    seen = {"SLURM_JOB_ID": "3", "SBATCH_CPU_BIND": "x", "SLURM_CONF": "c", "HOME": "h", "PATH": "p"}
    user = {"SBATCH_PARTITION": "a", "SBATCH_ACCOUNT": "b", "SBATCH_QOS": "c", "SBATCH_CONSTRAINT": "d"}
    stays = {"PATH": f"{Path(sys.executable).parent}:p", "SLURM_CONF": "c", "HOME": "h"}
    assert outside({**seen, **user}, SlurmSite()) == {**stays, **user}
    assert outside({**seen, **user}, SlurmSite(partition="p", account="a", qos="q", constraint="c")) == stays
    # What would go before something that scripts say.
    assert outside({**seen, "SBATCH_EXPORT": "ALL", "SBATCH_TIMELIMIT": "1"}, SlurmSite()) == stays


@pytest.mark.parametrize(
    ("on_node", "visible", "planned", "here", "shared"),
    [
        ("0,1,2,3", "0,1,2,3", (2, 3), [2, 3], [2, 3]),
        # A control group hides the others and numbers those that are left anew.
        ("2,3", "0,1", (3,), [1], None),
        # Another job has the first ones of the node.
        ("2,3", "2,3", (1,), None, [3]),
        ("5,4", "1,0", (0, 1), None, [0, 1]),
        ("", "0,1", (1,), [1], [1]),
        ("0,1", "0,1", (), [], []),
    ],
)
def test_a_launcher_takes_the_gpus_that_the_plan_names(
    monkeypatch: pytest.MonkeyPatch,
    on_node: str,
    visible: str,
    planned: tuple[int, ...],
    here: list[int] | None,
    shared: list[int] | None,
) -> None:
    """By their numbers on a node that the job has for itself, and of one that it shares counted among its own."""
    monkeypatch.setenv("SLURM_STEP_GPUS", on_node)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for by_number, expected in ((True, here), (False, shared)):
        if expected is None:
            with pytest.raises(Rejected):
                devices_here(planned, "see-0", by_number=by_number)
        else:
            assert devices_here(planned, "see-0", by_number=by_number) == expected


def test_a_gpu_that_is_not_shown_is_said_and_no_other_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_GPUS", "0,1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(Rejected) as rejected:
        devices_here((1, 2), "see-0", by_number=True)
    assert [(one.code, one.message) for one in rejected.value.found] == [
        ("E0934", "`see-0` is planned for GPU 2, and Slurm shows its step 0, 1")
    ]


def test_the_queue_is_read_job_by_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "7+0|PENDING|Resources|ours",
        "7+1|PENDING|Resources|ours",
        "9|RUNNING|None|ours.more-1",
        "8|RUNNING||other",
    ]
    fake(tmp_path, monkeypatch, squeue="cat <<'END'\n" + "\n".join(lines) + "\nEND")
    assert queue("ours") == [
        Queued("7", "PENDING", "Resources", "ours"),
        Queued("9", "RUNNING", "None", "ours.more-1"),
    ]
    assert queue("ours")[0].waits_for == "the queue: the nodes are not free yet (Resources)"


def test_preflight_says_that_slurm_is_not_here_or_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write(tmp_path, MIXED)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert [found.code for found in ACTUATOR.preflight(bundle, port=None)] == ["E0935"]
    # The commands of a machine that is no part of a cluster.
    alone = "echo 'sbatch: fatal: Could not establish a configuration source' >&2; exit 1"
    fake(tmp_path, monkeypatch, **dict.fromkeys(("sbatch", "squeue", "scancel", "scontrol"), alone))
    (found,) = ACTUATOR.preflight(bundle, port=None)
    assert (found.code, "login node" in found.help) == ("E0935", True)
    assert found.message == "Slurm cannot be asked: Could not establish a configuration source"
    silent = dict.fromkeys(("squeue", "scancel", "scontrol"), "true")
    said = "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1"
    fake(tmp_path, monkeypatch, sbatch=said, **silent)
    (found,) = ACTUATOR.preflight(bundle, port=None)
    assert (found.code, found.message) == ("E0936", "Slurm refuses the job: invalid partition specified: x")


def test_nodes_that_are_away_are_a_warning_and_what_the_site_says_wrongly_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write(tmp_path, [("a", (), "", 1.0), ("b", (), "", 1.0)])
    states = ["a|drained|a fan | is broken", "b|idle*|none", "b|idle*|none", "c|down|none", "d|idle|none"]
    nodes = ["main*|{}|{}|4|8000|(null)|{}".format(*state.split("|", 2)) for state in states]
    sinfo = "cat <<'END'\n" + "\n".join(nodes) + "\nEND"

    def told(said: str, sinfo: str) -> list[tuple[str, str]]:
        fake(tmp_path, monkeypatch, sbatch=f"echo 'allocation failure: {said}' >&2; exit 1", sinfo=sinfo)
        return [(found.code, found.message.partition(said)[2]) for found in refused(bundle, os.environ)]

    no_nodes = "Requested node configuration is not available"
    away = ", and `a` is away (drained: a fan | is broken), `b` is away (does not answer)"
    assert told(no_nodes, sinfo) == [("W0941", away)]
    # Of other nodes it is of no matter, and so it is where the partition is none.
    assert told(no_nodes, "echo 'main*|c|down|4|8000|(null)|none'") == told(no_nodes, "exit 1") == [("E0936", "")]
    assert told("Invalid partition name specified", sinfo) == [("E0936", "")]


@pytest.mark.parametrize(
    ("gres", "lines", "code"),
    [
        # Of two that have all that it takes of each, one is away.
        ("typed", ["main*|x|idle|4|8000|gpu:a100:4|none", "main*|y|down|4|8000|gpu:a100:4(S:0-1)|none"], "W0941"),
        ("untyped", ["main*|x|idle|4|8000|gpu:a100:4|none", "main*|y|down|4|8000|shard:8,gpu:2|none"], "W0941"),
        # What is away could not run it: too few cores, too little memory, too few GPUs, other ones, none.
        ("typed", ["main*|x|idle|4|8000|gpu:a100:4|none", "main*|y|down|1|8000|gpu:a100:4|none"], "E0936"),
        ("typed", ["main*|x|idle|4|8000|gpu:a100:4|none", "main*|y|down|4|100|gpu:a100:4|none"], "E0936"),
        ("typed", ["main*|x|idle|4|8000|gpu:a100:4|none", "main*|y|down|4|8000|gpu:a100:1|none"], "E0936"),
        ("typed", ["main*|x|idle|4|8000|gpu:a100:4|none", "main*|y|down|4|8000|gpu:l40s:4|none"], "E0936"),
        ("untyped", ["main*|x|idle|4|8000|gpu:a100:4|none", "main*|y|down|4|8000|(null)|none"], "E0936"),
        # One of two types that are asked for lacks, and has too few.
        ("both", ["main*|x|down|4|8000|gpu:a100:2,gpu:l40s:2|none"], "W0941"),
        ("both", ["main*|x|down|4|8000|gpu:a100:2,gpu:l40s:1|none"], "E0936"),
        ("both", ["main*|x|down|4|8000|gpu:a100:4|none"], "E0936"),
        # It could, and there are too few even so; and it is in no partition of the job's.
        ("typed", ["main*|y|down|4|8000|gpu:a100:4|none"], "E0936"),
        ("typed", ["main*|x|idle|4|8000|gpu:a100:4|none", "other|y|down|4|8000|gpu:a100:4|none"], "E0936"),
    ],
)
def test_a_node_that_is_away_counts_where_it_has_what_the_job_takes(
    gres: str, lines: list[str], code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Place] = [("a", (1,), "a100_sxm", 2.0), ("b", (1,), "a100_sxm", 2.0)]
    if gres == "both":
        gres, places = "typed", [("a", (1,), "a100_sxm", 1.0), ("a", (1,), "l40s", 1.0)]
    site = f'[slurm]\nnodes = "any"\ngres = "{gres}"\ngpu_types = {{a100_sxm = "a100"}}\n'
    bundle = write(tmp_path, places, site)
    no_nodes = "echo 'allocation failure: Requested node configuration is not available' >&2; exit 1"
    fake(tmp_path, monkeypatch, sbatch=no_nodes, sinfo="cat <<'END'\n" + "\n".join(lines) + "\nEND")
    assert [found.code for found in refused(bundle, os.environ)] == [code]


def test_an_environment_of_the_site_that_is_not_here_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = tmp_path / "venv"
    bundle = write(tmp_path, MIXED, f'[slurm]\nvenv = "{venv}"\n')
    fake(tmp_path, monkeypatch, **dict.fromkeys(("sbatch", "squeue", "scancel", "scontrol"), "true"))
    (found,) = ACTUATOR.preflight(bundle, port=None)
    assert (found.code, found.is_error) == ("W0942", False)
    assert f"there is no `{venv}/bin/python3` on this machine" in found.message
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python3").symlink_to(sys.executable)
    assert ACTUATOR.preflight(bundle, port=None) == []


@pytest.mark.parametrize(
    ("name", "text", "codes"),
    [
        ("HARMONIA_GATEWAY_PROCESSES", "64", []),
        ("HARMONIA_GATEWAY_PROCESSES", "", []),
        *[("HARMONIA_GATEWAY_PROCESSES", text, ["E0916"]) for text in ("abc", "0", "-3", "65", "5000", "²")],
        ("HARMONIA_ALLOWED_HOSTS", "rag.example.org, Rag, 10.0.0.7,::1,", []),
        *[("HARMONIA_ALLOWED_HOSTS", text, ["E0916"]) for text in ("a b", "ok,$(x)", "a:80", "http://a", "*.a")],
    ],
)
def test_what_the_gateway_could_not_start_with_is_said_before_a_job_waits_for_it(
    name: str, text: str, codes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write(tmp_path, MIXED)
    fake(tmp_path, monkeypatch, **dict.fromkeys(("sbatch", "squeue", "scancel", "scontrol"), "true"))
    monkeypatch.setenv(name, text)
    assert [found.code for found in ACTUATOR.preflight(bundle, port=None)] == codes


def test_what_a_job_that_is_queued_anew_said_of_its_end_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write(tmp_path, MIXED)
    folder = SharedFolder(bundle)
    (bundle / "run").mkdir()
    name = folder.begin(Asked(), {}).name
    folder.enter("7.0")
    folder.set_owner(Owner("7.0"))
    folder.set_state("7.0", JobState(Status("down")))
    fake(tmp_path, monkeypatch, squeue=f"echo '7|RUNNING|None|{name}'")
    status = ACTUATOR.status(bundle)
    assert (status.phase, [one.waiting_for for one in status.processes]) == ("starting", ["its script to start"])


@pytest.mark.parametrize(
    ("listed", "shown", "said"),
    [
        ("7|TIMEOUT|TimeLimit", "", "job 7 ended: its wall time was over (TimeLimit)"),
        ("7|NODE_FAIL|None", "", "job 7 ended: a node of it failed"),
        ("7|FAILED|NonZeroExitCode", "ExitCode=3:0", "job 7 ended: its script failed with exit code 3"),
        ("7|FAILED|JobLaunchFailure", "ExitCode=0:9", "job 7 ended: its script failed with SIGKILL (JobLaunchFailure)"),
        ("8|RUNNING|None", "", "its job ended, and Slurm does not remember how"),
    ],
)
def test_status_says_how_a_job_ended_as_slurm_says_it(
    listed: str, shown: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write(tmp_path, MIXED)
    (bundle / "run/logs").mkdir(parents=True)
    name = SharedFolder(bundle).begin(Asked(), {}).name
    (bundle / "run/logs/job-7.log").touch()
    named = f"{listed}|{name if listed[0] == '7' else 'other'}"
    fake(tmp_path, monkeypatch, squeue=f"echo '{named}'", scontrol=f"echo 'JobId=7 {shown} NodeList=x'")
    status = ACTUATOR.status(bundle)
    assert (status.phase, status.notes[0]) == ("down", said)
    assert "`harmoniac up " in status.notes[1]


def test_what_a_user_set_for_the_eyes_hides_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, squeue='[ "$SQUEUE_STATES$SQUEUE_SORT" ] || echo "7|RUNNING|None|ours"')
    monkeypatch.setenv("SQUEUE_STATES", "PD")
    assert [one.job for one in queue("ours")] == ["7"]


def test_up_goes_on_asking_a_slurm_that_is_away_and_says_what_it_could_not_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write(tmp_path, MIXED)
    logs = bundle / "run/logs"
    logs.mkdir(parents=True)
    (logs / "job-6.log").write_text("of an earlier run\n")
    monkeypatch.setattr(actuator, "_UNKNOWN_S", 0.0)
    away = "echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1"
    fake(tmp_path, monkeypatch, sbatch="echo 7", squeue=away)
    seen: list[Status] = []
    with pytest.raises(NotStarted) as late:
        ACTUATOR.start(bundle, port=None, reembed=False, timeout_s=1.0, watch=seen.append)
    (found,), unseen = late.value.found, "Slurm does not say which jobs there are: Unable to contact slurm controller"
    assert found.message == f"`job` did not become ready: after 1 s in all {unseen}"
    assert "not all that was started is stopped again (Slurm cannot be asked:" in found.help
    assert late.value.said == []
    assert len(seen) > 1
    assert {(status.phase, status.is_stale, status.notes) for status in seen} == {("starting", True, (unseen,))}
    assert ACTUATOR.status(bundle).is_stale
    fake(tmp_path, monkeypatch, squeue="true")
    assert ACTUATOR.stop(bundle)


def test_preflight_tells_of_weights_that_nodes_would_look_for_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    source = tmp_path / "near.rag"
    source.write_text(
        'component near = embedder("bge-small-en-v1.5")\n'
        "pipeline find(question: text) -> vector {\n    load 1 rps\n    return near(question)\n}\n"
    )
    planned(source, root=tmp_path).write(tmp_path / "bundle", "slurm")
    fake(tmp_path, monkeypatch, **dict.fromkeys(("sbatch", "squeue", "scancel", "scontrol"), "true"))
    (found,) = ACTUATOR.preflight(tmp_path / "bundle", port=None)
    assert (found.code, found.is_error) == ("W0937", False)
    assert "the weights of `BAAI/bge-small-en-v1.5` are not on this machine, nor on nodes" in found.message
    assert "--fetch" in found.help
    card = wanted("bge-small-en-v1.5")
    assert ACTUATOR.models(tmp_path / "bundle") == [f"{card.name}@{card.revision}"]


def test_what_up_writes_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path)
    (tmp_path / "run").mkdir()
    run = folder.begin(Asked(), {"KEY": "secret"})
    assert folder.run() == run
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.path.iterdir()} == {
        "token": 0o600,
        "run.json": 0o600,
        "environment.json": 0o600,
    }
    assert folder.environment()["KEY"] == "secret"
    assert "KEY" not in os.environ
    token = folder.token()
    folder.begin(Asked(), {})
    assert folder.token() != token


def test_a_copy_of_a_bundle_is_another_service_and_a_folder_that_is_moved_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, copy = write(tmp_path, MIXED), tmp_path / "copy"
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    named, ended = bin_ / "named", bin_ / "ended"
    scripts = {
        "squeue": f'[ -e {ended} ] || echo "7|RUNNING|None|$(cat {named})"',
        "scancel": f'echo "$*" >> {ended}',
    }
    fake(bin_, monkeypatch, **scripts)
    run = SharedFolder(bundle)
    (bundle / "run").mkdir()
    named.write_text(run.begin(Asked(), {}).name)
    shutil.copytree(bundle, copy)
    assert ACTUATOR.status(copy) == NOTHING_LEFT
    assert not ACTUATOR.stop(copy)
    assert not ended.exists()
    assert ACTUATOR.status(bundle).notes == ("job 7",)
    # Where it is not moved, a file system may number it anew.
    copied, moved = copy.rename(tmp_path / "copied"), bundle.rename(tmp_path / "moved")
    assert ACTUATOR.status(moved).notes == ("job 7",)
    copied.rename(bundle)
    assert ACTUATOR.status(bundle).notes == ("job 7",)
    assert ACTUATOR.stop(moved)
    assert ended.read_text().split()[-1] == "7"
    assert ACTUATOR.status(moved) == NOTHING_LEFT
