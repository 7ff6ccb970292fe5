"""What a machine has: the limits of control groups, and GPUs by the names that nvidia-smi gives them."""

import os
from pathlib import Path

import pytest

from harmonia_compiler.contract.gpu import GPU_TYPES, gpu_type_of_product
from harmonia_compiler.contract.inventory import Gpu
from harmonia_compiler.profile.detect import count_gpus, cpu_limits, detect, has_bf16, memory_limits


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.fsencode(text))


def test_limits_of_every_group_above_count(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "own": "0::/job/step\n",
            "groups/cpu.max": "max 100000\n",
            "groups/job/cpu.max": "350000 100000\n",
            "groups/job/step/cpu.max": "800000 100000\n",
            "groups/job/step/memory.max": "8589934592\n",
            "groups/other/cpu.max": "100000 100000\n",
        },
    )
    assert cpu_limits(tmp_path / "groups", tmp_path / "own") == [3.5, 8.0]
    assert memory_limits(tmp_path / "groups", tmp_path / "own") == [8 * 2**30]


def test_limits_of_the_first_version_of_control_groups(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "own": "4:memory:/job\n3:cpu,cpuacct:/job\n",
            "groups/cpu/job/cpu.cfs_quota_us": "200000\n",
            "groups/cpu/job/cpu.cfs_period_us": "100000\n",
            "groups/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "groups/memory/job/memory.limit_in_bytes": "4294967296\n",
        },
    )
    assert cpu_limits(tmp_path / "groups", tmp_path / "own") == [2.0]
    assert memory_limits(tmp_path / "groups", tmp_path / "own") == [4 * 2**30]


def test_a_group_may_have_any_name(tmp_path: Path) -> None:
    """Any bytes but a slash; behind a line's end in it, what is left of the name is no line of its own."""
    own = {"own": "0::/caf\udce9\nof two lines\n1:cpu:/caf\udce9\n"}
    write(tmp_path, {**own, "groups/cpu/caf\udce9/cpu.max": "150000 100000\n"})
    assert cpu_limits(tmp_path / "groups", tmp_path / "own") == [1.5]


def test_no_limits(tmp_path: Path) -> None:
    write(tmp_path, {"own": "0::/\n", "groups/cpu.max": "max 100000\n", "groups/memory.max": "max\n"})
    assert cpu_limits(tmp_path / "groups", tmp_path / "own") == []
    assert memory_limits(tmp_path / "groups", tmp_path / "missing") == []


def test_gpus_keep_their_order_and_unknown_ones_are_told() -> None:
    listing = "NVIDIA L40S\nNVIDIA L40S\nTesla T4\nNVIDIA GeForce RTX 4090\nNVIDIA L40S\n"
    gpus, unknown = count_gpus(listing)
    assert gpus == (Gpu("l40s", 2), Gpu("t4", 1), Gpu("l40s", 1))
    assert unknown == ("NVIDIA GeForce RTX 4090",)


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("NVIDIA H200", "h200_sxm"),
        ("NVIDIA H100 80GB HBM3", "h100_sxm"),
        ("NVIDIA A100-SXM4-80GB", "a100_sxm"),
        ("NVIDIA A100-SXM4-40GB", None),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA L4", "l4"),
    ],
)
def test_products_are_told_apart(product: str, name: str | None) -> None:
    found = gpu_type_of_product(product)
    assert (found and found.name) == name


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd bf16\n", True),
        ("Features\t: fp asimd\n", False),
        ("processor\t: 0\n", True),
    ],
)
def test_the_kernel_says_whether_cores_multiply_16_bits(tmp_path: Path, said: str, *, has: bool) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\n" + said)
    assert has_bf16(tmp_path / "cpuinfo") == has
    assert has_bf16(tmp_path / "none")


def test_this_machine_has_something() -> None:
    host = detect().host
    assert host.cpus >= 1
    assert host.memory_gib > 0
    assert {gpu.type for gpu in host.gpus} <= set(GPU_TYPES)


def test_what_nvidia_smi_prints_need_be_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf 'NVIDIA L40S\\nTesla \\377\\376\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = detect()
    assert found.host.gpus == (Gpu("l40s", 1),)
    assert found.unknown_gpus == ("Tesla \ufffd\ufffd",)
