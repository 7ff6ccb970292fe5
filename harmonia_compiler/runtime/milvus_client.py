"""How every client of Milvus is set up: it logs nothing on its own, and does not ping.

That gRPC's core is quiet as well is seen to in this package, since it must be told before it is imported.
"""

import logging

# pymilvus prints a traceback for every refusal, also for those that are caught here and reported.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

#: pymilvus pings each 10 s. A gRPC server that was not told to expect that takes a third ping within five minutes in
#: which nothing else is sent for an attack, and drops the connection. Every call here has a timeout instead, which is
#: how a server that is gone is noticed. One that is back is found within half a second: gRPC itself would ask ever more
#: seldom, in the end every two minutes, and fail all calls until then.
GRPC_OPTIONS = {
    "grpc.keepalive_time_ms": 600_000,
    "grpc.keepalive_permit_without_calls": 0,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 500,
}
