"""What a gateway tells of its work: the readings by which the controller corrects the plan.

Counted since the gateway's start and never reset, so that a reading that is lost, or asked for twice, changes nothing:
whoever wants to know what happened in a window takes the difference of two. `gateway` is another name after each
start, and then the counts are, too. Nothing of what requests say is in here.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

FORMAT_VERSION = 1

#: The file in a run's folder that holds, where there is one, what lets others than processes of this machine read them:
#: to the gateway's container, its neighbours come from another.
TOKEN = "readings.token"  # noqa: S105 - the name of a file

Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]


class RequestsRead(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests of one pipeline and class (empty: of none): those that came, were let in, and were answered.

    `visits` are the calls that were made for those that were answered, by component: of others some are yet to come, or
    never will. `gap_s` and `gap_s2` are the sums of the times between arrivals and of their squares, which tell how
    bursty they come.
    """

    pipeline: str
    request_class: str = ""
    arrived: Count = 0
    let_in: Count = 0
    answered: Count = 0
    visits: dict[str, Count] = {}
    gap_s: Seconds = 0.0
    gap_s2: Seconds = 0.0


class CallsRead(msgspec.Struct, frozen=True, omit_defaults=True):
    """Calls of one component in one pipeline that one replica has ended, well or not.

    `items` are what the calls were for: more than one where lists are handed on in one call. `service_s` is how long
    those that were served took the replica, `queue_s` how long all of them waited for it, each summed up.
    """

    pipeline: str
    component: str
    replica: str
    served: Count = 0
    failed: Count = 0
    items: Count = 0
    service_s: Seconds = 0.0
    queue_s: Seconds = 0.0


class ReplicaRead(msgspec.Struct, frozen=True):
    """One replica now: the calls that it works on, and whether new ones go to it.

    One that is routed to is `left_out` for a while, where its calls failed or it made no progress. `started_in_s` is
    how long it took from its start until it was ready, where that is known.
    """

    replica: str
    engine: str
    in_flight: Count
    routed: bool
    left_out: bool = False
    started_in_s: Seconds | None = None


class CacheRead(msgspec.Struct, frozen=True, omit_defaults=True):
    """The prefix cache of one replica: the tokens of prompts that were looked for in it, and those that were in it.

    As the replica tells every few seconds, from when it was first asked.
    """

    replica: str
    engine: str
    looked_up: Count = 0
    found: Count = 0


class GenerationRead(msgspec.Struct, frozen=True):
    """One generation of the service: the requests that it works on, and those that came to it and were answered."""

    number: Count
    under_way: Count
    arrived: Count = 0
    answered: Count = 0


class Readings(msgspec.Struct, frozen=True):
    """One answer of `GET /readings`. `at_s` is by the gateway's clock, which only goes forward.

    `waiting` are calls that no replica has taken yet, by engine. `epoch` is that of the decision that the gateway
    follows, 0 where it follows the plan; `refused` why it does not follow the one that it was given last. `generations`
    are those that it serves by the document of the epoch `followed`, `not_followed` why it does not serve those of the
    last one; all else is of the first of them. `caches` are those of replicas that tell of one.
    """

    gateway: str
    at_s: Seconds
    epoch: Count
    refused: str = ""
    requests: tuple[RequestsRead, ...] = ()
    calls: tuple[CallsRead, ...] = ()
    replicas: tuple[ReplicaRead, ...] = ()
    waiting: dict[str, Count] = {}
    generations: tuple[GenerationRead, ...] = ()
    followed: Count = 0
    not_followed: str = ""
    caches: tuple[CacheRead, ...] = ()
    format_version: int = FORMAT_VERSION
