"""Replicas on devices, where counts on a host are given."""

from harmonia_compiler.contract.inventory import Gpu, Host
from harmonia_compiler.plan.place import place
from harmonia_compiler.plan.problem import Problem
from tests.plan.problems import chain, need, on_gpu


def test_replicas_of_two_gpus_take_each_whole() -> None:
    """Of each of its GPUs a replica takes all and no more, so that four hold two of them, side by side."""
    host = Host("box", 1, 1.0, (Gpu("a100_sxm", 4),))
    problem = Problem((need("a", on_gpu("a", 1.0, gpus=2.0)),), (chain("a"),), (host,))
    assert [replica.devices for replica in place(problem, {(0, 0, 0): 2})] == [(0, 1), (2, 3)]
