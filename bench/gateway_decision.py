"""What one decision of a queue costs where ten thousand calls wait: who goes next, and at which replica.

A place becomes free, the call whose turn it is gets it, and another call comes.
"""

import sys
import time

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.policy.line import Line
from harmonia_compiler.policy.waiting import Standing

DEPTH, DECISIONS, REPLICAS = 10_000, 20_000, 8


def standing(number: int) -> Standing:
    """Where a call stands, each of a request of its own: some go before others that came earlier."""
    return Standing(number + number * 7919 % DEPTH, 1e9, promised=True, request=number)


def main() -> int:
    """Measure and print."""
    line: Line[int] = Line(ReplicaShare(DEPTH), {})
    line.set_replicas(Endpoint(f"r{at}", "e", "127.0.0.1", at) for at in range(REPLICAS))
    taken = [line.ask(0.0) for _ in range(REPLICAS)]
    for number in range(DEPTH):
        line.wait(number, standing(number))
    line.set_shares({f"r{at}": ReplicaShare(1) for at in range(REPLICAS)})
    waiting, began = line.waiting, time.process_time()
    for number in range(DEPTH, DEPTH + DECISIONS):
        endpoint = taken[number % REPLICAS]
        assert endpoint is not None
        line.release(endpoint)
        given = line.next(1.0)
        assert given is not None
        taken[number % REPLICAS] = given[1]
        waiting.add(number, standing(number))
    took_us = (time.process_time() - began) / DECISIONS * 1e6
    print(f"a decision where {len(waiting)} calls wait for {REPLICAS} replicas: {took_us:.1f} µs of CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
