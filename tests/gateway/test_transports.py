import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.runtime.gateway.http_transport import HttpTransport
from harmonia_compiler.runtime.gateway.milvus_transport import MilvusTransport
from harmonia_compiler.runtime.gateway.transports import Transports

LOADED = """
import asyncio
import sys
import harmonia_compiler.runtime.gateway.__main__
from harmonia_compiler.runtime.gateway.transports import Transports


async def opened() -> None:
    Transports().open(sys.argv[1:])


asyncio.run(opened())
print("pymilvus" in sys.modules)
"""


async def test_every_transport_that_a_kind_may_name_is_there_and_opened_once() -> None:
    names = get_args(get_type_hints(Kind)["transport"])
    transports = Transports()
    transports.open(names)
    opened = {name: transports[name] for name in names}
    assert {name: type(one) for name, one in opened.items()} == {"http": HttpTransport, "milvus": MilvusTransport}
    transports.open(names)
    assert all(transports[name] is one for name, one in opened.items())
    for one in transports.values():
        await one.close()


async def test_one_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(ModuleNotFoundError, match="carrier_transport"):
        Transports().open(["carrier"])


@pytest.mark.slow
@pytest.mark.parametrize(("names", "loaded"), [([], False), (["http"], False), (["milvus"], True)])
def test_the_client_of_a_store_is_loaded_for_a_store_alone(names: list[str], loaded: bool) -> None:  # noqa: FBT001
    ran = subprocess.run([sys.executable, "-c", LOADED, *names], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{loaded}\n"
