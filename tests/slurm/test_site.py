"""Site profiles: what one may say, and what is refused, with its line."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from harmonia_compiler.contract.inventory import Gpu, Host
from harmonia_compiler.contract.site import load_site, parse_site
from harmonia_compiler.contract.slurm import SlurmSite
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
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


def findings(made: Planned, text: str, tmp_path: Path, hosts: Sequence[Host] = ()) -> list[Diagnostic]:
    """What the bundle is refused for or warned of."""
    site, out = parse_site(Source("site.toml", text)), tmp_path / "bundle"
    try:
        return write_bundle(
            made.plan, made.application, target="slurm", out=out, root=made.root, site=site, hosts=hosts
        )
    except Rejected as rejected:
        assert not out.exists()
        return [*rejected.found]


def described(made: Planned, text: str, tmp_path: Path, hosts: Sequence[Host] = ()) -> list[tuple[str, int]]:
    """Their codes, each with its line."""
    found = findings(made, text, tmp_path, hosts)
    assert all(one.help and one.span for one in found)
    return [(one.code, text.count("\n", 0, one.span.start) + 1) for one in found if one.span]


def test_a_plan_that_needs_gpus_is_refused_where_none_are_asked_for(quickstart: Planned, tmp_path: Path) -> None:
    text = '[slurm]\ngres = "none"\n'
    assert described(placed(quickstart, ("n", (), 1.0)), text, tmp_path) == []
    shutil.rmtree(tmp_path / "bundle")
    assert described(placed(quickstart, ("n", (), 1.0), ("n", (0,), 1.0)), text, tmp_path) == [("E0938", 2)]


A100, L40S = "a100_sxm", "l40s"
SAME = f'gpu_types = {{{A100} = "gpu", {L40S} = "gpu"}}\n'
ANY, UNTYPED, SHARED = 'nodes = "any"\n', 'gres = "untyped"\n', "exclusive = false\n"
MORE = "submit_from_nodes = true\nscale_out = 1\n"
#: Two hosts that differ in their GPUs alone, and one that has both types.
APART = [Host("a", 8, 64.0, (Gpu(A100),)), Host("b", 8, 64.0, (Gpu(L40S),))]
BOTH = [Host("a", 8, 64.0, (Gpu(A100), Gpu(L40S)))]


@pytest.mark.parametrize(
    ("hosts", "text", "line"),
    [
        (APART, ANY + UNTYPED, 2),
        (APART, ANY, 0),
        (APART, UNTYPED, 0),
        (APART, UNTYPED + SHARED, 0),
        (APART[:1], ANY + UNTYPED, 0),
        # A replica on top comes wherever there is room, by its own type where types are asked for.
        (APART, UNTYPED + MORE, 4),
        (APART, MORE, 0),
        (APART, UNTYPED + MORE + ANY, 5),
        # By its type, each is right on a host with both.
        (BOTH, "", 0),
        (BOTH, SHARED, 0),
        (BOTH, ANY + MORE, 0),
        (BOTH, UNTYPED, 2),
        (BOTH, SHARED + UNTYPED, 3),
        (BOTH, ANY + UNTYPED, 3),
        # Two types that the site calls the same, in whichever way.
        (APART, ANY + SAME, 2),
        (APART, SAME, 0),
        (APART, MORE + SAME, 3),
        (BOTH, SAME, 2),
        (BOTH, SAME + UNTYPED, 3),
        (APART, ANY + f'gpu_types = {{{A100} = "{L40S}"}}\n', 2),
        (APART, ANY + 'gpu_types = {t4 = "l4"}\n', 0),
    ],
)
@pytest.mark.parametrize("types", [(A100, L40S), (A100,), (L40S,)], ids=["both", "one", "other"])
def test_gpus_are_refused_where_slurm_is_not_told_which_of_two_types_it_is_to_give(
    quickstart: Planned, tmp_path: Path, hosts: list[Host], text: str, line: int, types: tuple[str, ...]
) -> None:
    """Whichever of them the plan uses."""
    used = [gpu for gpu in types if any(gpu == one.type for host in hosts for one in host.gpus)] or [A100]
    made = placed(quickstart, *(where(gpu, hosts) for gpu in used), types=used)
    assert described(made, f"[slurm]\n{text}", tmp_path, hosts) == ([("E0943", line)] if line else [])


def where(gpu: str, hosts: list[Host]) -> tuple[str, tuple[int, ...], float]:
    """The first GPU of a type, as a place for a replica."""
    numbered = [(host.name, [one.type for one in host.gpus for _ in range(one.count)]) for host in hosts]
    name, types = next((name, types) for name, types in numbered if gpu in types)
    return name, (types.index(gpu),), 1.0


@pytest.mark.parametrize(
    ("hosts", "text", "step", "mended"),
    [
        (APART, ANY + UNTYPED, 'say `nodes = "named"`, or say `gres = "typed"` where ', [UNTYPED, ANY]),
        (APART, ANY + UNTYPED + MORE, 'say `nodes = "named"` and leave `scale_out` out, or ', [UNTYPED, ANY + MORE]),
        (APART, ANY + SAME, 'say `nodes = "named"`, or say by `gpu_types` what ', [SAME, ANY]),
        (BOTH, SHARED + UNTYPED, 'say `gres = "typed"` where ', [SHARED]),
        (BOTH, SAME, "say by `gpu_types` what ", [""]),
    ],
)
def test_each_way_that_is_named_out_of_it_is_one(
    quickstart: Planned, tmp_path: Path, hosts: list[Host], text: str, step: str, mended: list[str]
) -> None:
    made = placed(quickstart, where(A100, hosts))
    (found,) = findings(made, f"[slurm]\n{text}", tmp_path, hosts)
    assert found.help.startswith(step)
    for at, instead in enumerate(mended):
        assert findings(made, f"[slurm]\n{instead}", tmp_path / str(at), hosts) == []


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
