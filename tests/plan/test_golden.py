"""The allocations that the paper prints, out of the planner, with profiles stated here."""

from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.problem import Problem
from tests.plan.problems import chain, machine, need, on_cores, on_gpu, replicas_of


def allocation(problem: Problem) -> dict[str, int]:
    found = optimise(problem)
    assert found is not None
    assert found.proven
    return replicas_of(problem, found.counts)


def test_toy() -> None:
    """A retriever takes 2 units of a core per query, the augmenter 1, the generator 10 of a GPU over a batch of 16.

    With r cores for the retriever the rate is limited to min(r / 2, 5 - r) queries a unit, largest at
    r = 3 alone (1.5). One GPU carries 16 / 10 = 1.6: the second would raise nothing and stays free.
    """
    problem = Problem(
        (
            need("retriever", on_cores("retriever", 2000.0)),
            need("augmenter", on_cores("augmenter", 1000.0)),
            need("generator", on_gpu("generator", 10_000.0 / 16)),
        ),
        (chain("retriever", "augmenter", "generator"),),
        (machine("box", cpus=5, gpus=2),),
    )
    assert allocation(problem) == {"retriever": 3, "augmenter": 2, "generator": 1}


def test_toy_with_a_retriever_that_batches_well() -> None:
    """The same, but 2 units of a core retrieve for a batch of 16 queries, and the generator's batch is 64.

    With r cores for the retriever the rate is limited to min(8 r, 5 - r), largest at r = 1 alone (4);
    one GPU carries 64 / 10 = 6.4.
    """
    problem = Problem(
        (
            need("retriever", on_cores("retriever", 2000.0 / 16)),
            need("augmenter", on_cores("augmenter", 1000.0)),
            need("generator", on_gpu("generator", 10_000.0 / 64)),
        ),
        (chain("retriever", "augmenter", "generator"),),
        (machine("box", cpus=5, gpus=2),),
    )
    assert allocation(problem) == {"retriever": 1, "augmenter": 4, "generator": 1}


def test_corrective_on_six_gpus_and_four_cores() -> None:
    """CRAG on 6 GPUs and 4 cores: whole GPUs, one component an engine, Llama-3.2-3B on an A100.

    By the roofline (6.4 TFLOP per 1,000 tokens at half of 312 TFLOP/s, 41 ms) the grader's prefill of
    2,950 tokens takes 121 ms of a GPU; the generator's 314 tokens take 13 ms and its 64 answer tokens
    in a batch of 64 another 8 ms; the rewriter (three requests in ten) 10 ms. So g GPUs for the
    grader carry g / 121 requests a ms; the generator (1 / 21) and the rewriter (1 / 3) carry more
    on one GPU each than the grader on the four that are left (4 / 121 = 1 / 30).
    The retriever takes 45 ms of a core in batches of 16, 1 / 45 on one core and 1 / 22.5 on two: it
    needs two. Augmenting takes 10 ms and the web search 20 ms in three requests of ten: a core each.
    """
    problem = Problem(
        (
            need("retriever", on_cores("retriever", 45.0)),
            need("grader", on_gpu("grader", 121.0)),
            need("augmenter", on_cores("augmenter", 10.0)),
            need("rewriter", on_gpu("rewriter", 10.0)),
            need("web", on_cores("web", 20.0)),
            need("generator", on_gpu("generator", 21.0)),
        ),
        (
            chain(
                *("retriever", "grader", "rewriter", "web", "augmenter", "generator"),
                visits={"rewriter": 0.3, "web": 0.3},
            ),
        ),
        (machine("box", cpus=4, gpus=6),),
    )
    assert allocation(problem) == {
        "retriever": 2,
        "grader": 4,
        "augmenter": 1,
        "rewriter": 1,
        "web": 1,
        "generator": 1,
    }
