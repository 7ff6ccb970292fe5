"""Asking a process whether it is ready."""

import asyncio
import contextlib

import aiohttp
import grpc

from harmonia_compiler.contract.launch import Probe
from harmonia_compiler.runtime.actuators.supervision.ports import LOOPBACK

#: How long one question may take, in seconds.
QUESTION_S = 2.0

#: How long a call may take that only warms an engine up, in seconds.
WARM_UP_S = 120.0

_MILVUS_VERSION = "/milvus.proto.milvus.MilvusService/GetVersion"


def describe(probe: Probe, port: int) -> str:
    """The question, as it is shown to people."""
    if probe.transport == "none":
        return "its start"
    if probe.transport == "milvus":
        return f"Milvus on port {port}"
    return f"GET http://{LOOPBACK}:{port}{probe.path}"


async def ask(probe: Probe, port: int) -> str | None:
    """Ask once: None where the process is ready, else why not, as a short phrase."""
    if probe.transport == "none":
        return None
    try:
        async with asyncio.timeout(QUESTION_S):
            return await (_ask_milvus(port) if probe.transport == "milvus" else _ask_http(probe.path, port))
    except TimeoutError:
        return f"no answer within {QUESTION_S:g} s"
    except aiohttp.ClientConnectorError:
        return "connection refused"
    except (OSError, aiohttp.ClientError) as problem:
        return str(problem) or type(problem).__name__


async def _ask_http(path: str, port: int) -> str | None:
    async with aiohttp.ClientSession() as session, session.get(f"http://{LOOPBACK}:{port}{path}") as answer:
        if answer.status == 200:
            return None
        text = (await answer.content.read(200)).decode(errors="replace").split("\n")[0].strip()
        return f"answers {answer.status}" + (f": {text}" if text else "")


async def _ask_milvus(port: int) -> str | None:
    # A bare call by name: the client library would bring pandas and seconds of start-up into the supervisor.
    async with grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as channel:
        try:
            await channel.unary_unary(_MILVUS_VERSION, bytes, bytes)(b"", timeout=QUESTION_S)
        except grpc.aio.AioRpcError as problem:
            return "connection refused" if problem.code() == grpc.StatusCode.UNAVAILABLE else str(problem.details())
    return None


async def warm_up(probe: Probe, port: int) -> None:
    """Make the calls that an engine is slow at the first time; what they answer does not matter."""
    limit = aiohttp.ClientTimeout(total=WARM_UP_S)
    async with aiohttp.ClientSession(timeout=limit) as session:
        for wire in probe.warm_up:
            with contextlib.suppress(TimeoutError, OSError, aiohttp.ClientError):
                url = f"http://{LOOPBACK}:{port}{wire.path}"
                async with session.request(wire.method, url, data=wire.body, headers=dict(wire.headers)) as answer:
                    await answer.read()
