"""Site profiles: what one may say, and what is refused, with its line."""

import shutil
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.site import load_site, parse_site
from harmonia_compiler.contract.slurm import SlurmSite
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.emit.bundle import write_bundle
from harmonia_compiler.emit.targets.slurm_site import slurm_site
from tests.emit.conftest import Planned
from tests.slurm.test_script import placed

FULL = """
[slurm]
partition = "gpu"
account = "lab-7"
qos = "normal"
constraint = "ib"
gres = "untyped"
gpu_types = {h100_sxm = "nvidia_h100_80gb_hbm3"}
modules = ["python/3.11", "cuda/12.4"]
venv = "/shared/venv"
image = "/shared/harmonia.sif"
stage = "/local/scratch"
wall_time = "1-00:00:00"
drain = "00:02:00"
handover = "00:30:00"
submit_from_nodes = true
scale_out = 4
nodes = "any"
exclusive = false

[compose]
whatever = "belongs to somebody else"
"""


def refused(text: str) -> list[tuple[str, int, str]]:
    """The code, line and message of each finding."""
    with pytest.raises(Rejected) as rejected:
        slurm_site(parse_site(Source("site.toml", text)))
    return [
        (one.code, 0 if one.span is None else text.count("\n", 0, one.span.start) + 1, one.message)
        for one in rejected.value.found
    ]


def test_a_profile_says_everything_in_plain_values() -> None:
    assert slurm_site(parse_site(Source("site.toml", FULL))) == SlurmSite(
        partition="gpu",
        account="lab-7",
        qos="normal",
        constraint="ib",
        gres="untyped",
        gpu_types={"h100_sxm": "nvidia_h100_80gb_hbm3"},
        modules=("python/3.11", "cuda/12.4"),
        venv="/shared/venv",
        image="/shared/harmonia.sif",
        stage="/local/scratch",
        wall_time_s=86_400,
        drain_s=120,
        handover_s=1800,
        submit_from_nodes=True,
        scale_out=4,
        nodes="any",
        exclusive=False,
    )


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ('partition = "gpu,gpu-long"', "#SBATCH --partition=gpu,gpu-long"),
        ('constraint = "ib&(rome|milan)"', "#SBATCH --constraint='ib&(rome|milan)'"),
        ('constraint = "[rack1*2|rack2*2]"', "#SBATCH --constraint='[rack1*2|rack2*2]'"),
    ],
)
def test_several_partitions_and_features_are_given_as_they_are(
    quickstart: Planned, tmp_path: Path, line: str, option: str
) -> None:
    assert described(quickstart, f"[slurm]\n{line}\n", tmp_path) == []
    assert option in (tmp_path / "bundle/slurm/job.sbatch").read_text().splitlines()


def test_without_a_profile_everything_is_as_usual() -> None:
    assert slurm_site(None) == slurm_site(parse_site(Source("site.toml", ""))) == SlurmSite()


@pytest.mark.parametrize(
    "line",
    [
        'partition = "gpu --wrap=reboot"',
        'partition = "gpu,"',
        'partition = "gpu|cpu"',
        'account = "a,b"',
        'constraint = "ib & rome"',
        'constraint = "ib;reboot"',
        'constraint = "-x"',
        'partition = "gpu\\n#SBATCH --wrap=reboot"',
        'partition = "--wrap=reboot"',
        'account = "$(id)"',
        'qos = "`id`"',
        'constraint = "${HOME}"',
        'gpu_types = {h100_sxm = "a b"}',
        'gpu_types = {"h 100" = "a"}',
        'gpu_types = {h100_sxm = ""}',
        'gpu_types = {"" = "a"}',
        'modules = ["python; reboot"]',
        'modules = ["-f"]',
        'modules = "python"',
        'venv = "../venv"',
        'venv = "/shared/../root"',
        'venv = "/shared/$(id)"',
        'image = "/a b.sif"',
        'stage = "../scratch"',
        'image = "/a\\u202eb.sif"',
        'wall_time = "two hours"',
        "wall_time = 7200",
        'wall_time = "00:00:00"',
        'drain = "00:00:00"',
        'wall_time = "0-00:00:00"',
        'wall_time = "400-00:00:00"',
        'gres = "maybe"',
        "scale_out = -1",
        "scale_out = 65",
        "scale_out = true",
        'submit_from_nodes = "yes"',
        'nodes = "some"',
    ],
)
def test_a_value_that_is_no_plain_word_of_its_kind_is_refused_at_its_line(line: str) -> None:
    assert [found[:2] for found in refused(f'[slurm]\naccount = "lab"\n{line}\n'.replace('account = "lab"\n', ""))] == [
        ("E0932", 2)
    ]


def test_what_a_name_in_a_list_may_hold_is_said() -> None:
    with pytest.raises(Rejected) as rejected:
        slurm_site(parse_site(Source("site.toml", '[slurm]\nmodules = ["a&b|c"]\n')))
    (found,) = rejected.value.found
    assert (
        found.help
        == 'it takes a list such as `["python/3.11"]`, of names of letters, digits, `.`, `_`, `+`, `/` and `-`'
    )


def test_every_mistake_is_told_at_once() -> None:
    assert [found[:2] for found in refused('[slurm]\npartion = "gpu"\nqos = " "\nwall_time = "1"\n')] == [
        ("E0931", 2),
        ("E0932", 3),
        ("E0932", 4),
    ]


@pytest.mark.parametrize(
    ("lines", "key"),
    [("scale_out = 1", "scale_out"), ('wall_time = "02:00:00"\nhandover = "00:10:00"', "handover")],
)
def test_further_jobs_are_refused_where_nodes_may_not_submit(lines: str, key: str) -> None:
    (found,) = refused(f"[slurm]\n{lines}\n")
    assert found[0] == "E0933"
    assert f"`{key}`" in found[2]


@pytest.mark.parametrize("lines", ['wall_time = "00:01:00"', 'submit_from_nodes = true\nhandover = "00:10:00"'])
def test_a_service_must_have_time_between_its_start_and_its_end(lines: str) -> None:
    assert [found[0] for found in refused(f"[slurm]\n{lines}\n")] == ["E0932"]


def test_a_job_is_told_of_its_end_no_earlier_than_slurm_can() -> None:
    def text(drain: str) -> str:
        return f'[slurm]\nwall_time = "7-00:00:00"\ndrain = "{drain}"\n'

    assert slurm_site(parse_site(Source("site.toml", text("18:12:15")))).drain_s == 65_535
    # A job that may run for ever is told of no end.
    endless = text("18:12:16").replace('wall_time = "7-00:00:00"\n', "")
    assert slurm_site(parse_site(Source("site.toml", endless))).drain_s == 65_536
    assert [found[:2] for found in refused(text("18:12:16"))] == [("E0932", 3)]


def test_a_gpu_type_that_no_inventory_has_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(Rejected) as rejected:
        slurm_site(parse_site(Source("site.toml", '[slurm]\ngpu_types = {a100_sxn = "a100"}\n')))
    (found,) = rejected.value.found
    assert found.code == "E0931"
    assert "`a100_sxm`" in found.help


def described(made: Planned, text: str, tmp_path: Path) -> list[tuple[str, int]]:
    """What the bundle is refused for or warned of, each with its line."""
    site = parse_site(Source("site.toml", text))
    try:
        found = write_bundle(
            made.plan, made.application, target="slurm", out=tmp_path / "bundle", root=made.root, site=site
        )
    except Rejected as rejected:
        assert not (tmp_path / "bundle").exists()
        found = rejected.found
    assert all(one.help and one.span for one in found)
    return [(one.code, text.count("\n", 0, one.span.start) + 1) for one in found if one.span]


def test_a_plan_that_needs_gpus_is_refused_where_none_are_asked_for(quickstart: Planned, tmp_path: Path) -> None:
    text = '[slurm]\ngres = "none"\n'
    assert described(placed(quickstart, ("n", (), 1.0)), text, tmp_path) == []
    shutil.rmtree(tmp_path / "bundle")
    assert described(placed(quickstart, ("n", (), 1.0), ("n", (0,), 1.0)), text, tmp_path) == [("E0938", 2)]


A100, L40S = "a100_sxm", "l40s"
SAME = f'gpu_types = {{{A100} = "gpu", {L40S} = "gpu"}}\n'


@pytest.mark.parametrize(
    ("places", "text", "found"),
    [
        # Two hosts that differ in their GPUs alone, and one that has both types.
        ([("a", A100), ("b", L40S)], 'nodes = "any"\ngres = "untyped"\n', [("E0943", 2)]),
        ([("a", A100), ("b", L40S)], 'nodes = "any"\n', []),
        ([("a", A100), ("b", L40S)], 'gres = "untyped"\n', []),
        ([("a", A100), ("b", A100)], 'nodes = "any"\ngres = "untyped"\n', []),
        ([("a", A100), ("a", L40S)], 'nodes = "any"\n', [("E0943", 2)]),
        ([("a", A100), ("a", L40S)], "", []),
        # A replica on top comes wherever there is room, by its own type where types are asked for.
        ([("a", A100), ("b", L40S)], 'gres = "untyped"\nsubmit_from_nodes = true\nscale_out = 1\n', [("E0943", 4)]),
        ([("a", A100), ("a", L40S)], "submit_from_nodes = true\nscale_out = 1\n", []),
        # Of a node with both types other jobs may have those that the plan names.
        ([("a", A100), ("a", L40S)], "exclusive = false\n", [("E0943", 2)]),
        ([("a", A100), ("b", L40S)], "exclusive = false\n", []),
        # Two types that the site calls the same.
        ([("a", A100), ("b", L40S)], f'nodes = "any"\n{SAME}', [("E0943", 2)]),
        ([("a", A100), ("b", L40S)], SAME, []),
        ([("a", A100), ("b", L40S)], f"submit_from_nodes = true\nscale_out = 1\n{SAME}", [("E0943", 3)]),
    ],
)
def test_gpus_of_two_types_are_refused_where_slurm_is_not_told_which_it_is_to_give(
    quickstart: Planned,
    tmp_path: Path,
    places: list[tuple[str, str]],
    text: str,
    found: list[tuple[str, int]],
) -> None:
    made = placed(quickstart, *((host, (at,), 1.0) for at, (host, _) in enumerate(places)))
    replicas = tuple(
        msgspec.structs.replace(one, config=msgspec.structs.replace(one.config, gpu=places[at % len(places)][1]))
        for at, one in enumerate(made.plan.replicas)
    )
    plan = msgspec.structs.replace(made.plan, replicas=replicas)
    assert described(Planned(made.application, plan, made.root), f"[slurm]\n{text}", tmp_path) == found


HANDOVER = '[slurm]\nwall_time = "02:00:00"\nsubmit_from_nodes = true\nhandover = "00:20:00"\n'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HANDOVER, [("W0939", 4)]),
        (HANDOVER + 'nodes = "any"\n', []),
        (HANDOVER + "exclusive = false\n", []),
        (HANDOVER.replace("handover", "drain"), []),
    ],
)
def test_it_is_said_where_a_successor_has_to_wait_for_its_own_nodes(
    quickstart: Planned, tmp_path: Path, text: str, found: list[tuple[str, int]]
) -> None:
    assert described(quickstart, text, tmp_path) == found
    assert (tmp_path / "bundle/slurm/job.sbatch").is_file()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('modules = ["python/3.11", "a b", "c d"]', '`modules` cannot hold "a b"'),
        ('modules = "python/3.11"', '`modules` cannot be "python/3.11"'),
        ('gpu_types = {h100_sxm = "h100", l40s = 3}', '`gpu_types` cannot hold "l40s" = 3'),
        ('gpu_types = {"h 100" = "h100"}', '`gpu_types` cannot hold "h 100" = "h100"'),
        ('gpu_types = ["h100"]', "`gpu_types` cannot be a list"),
        ('partition = ["gpu"]', "`partition` cannot be a list"),
    ],
)
def test_of_a_list_or_a_table_what_is_wrong_in_it_is_said(line: str, said: str) -> None:
    assert refused(f"[slurm]\n{line}\n") == [("E0932", 2, said)]


def test_a_profile_that_is_not_there_or_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as rejected:
        load_site(tmp_path / "site.toml")
    assert [found.code for found in rejected.value.found] == ["E0930"]
    assert [found[0] for found in refused("[slurm")] == ["E0930"]
    assert [found[0] for found in refused("slurm = 3")] == ["E0930"]
