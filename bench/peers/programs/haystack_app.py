"""A pipeline as a Haystack pipeline behind hayhooks, with one pool of engines per model.

    python haystack_app.py peer.json PORT

The pipelines are in `haystack_pipelines.py`. A wrapper is deployed as hayhooks' documentation has it, by a folder of
pipelines; its asynchronous method streams. The route that is measured asks that wrapper directly, in place of hayhooks'
own, which is the same but for the form of the pieces.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

FOLDER = Path(sys.argv[1]).parent / "pipelines"
PROGRAMS = Path(__file__).parent
NAME = "measured"
#: What hayhooks finds in its folder: a wrapper around the pipeline of `peer.json`.
WRAPPER = """
import sys
sys.path.insert(0, {programs!r})
from haystack_pipelines import Measured

class PipelineWrapper(Measured):
    peer = {peer!r}
"""

(FOLDER / NAME).mkdir(parents=True, exist_ok=True)
(FOLDER / NAME / "pipeline_wrapper.py").write_text(WRAPPER.format(programs=str(PROGRAMS), peer=sys.argv[1]))
# Read by hayhooks and Haystack when they are imported.
os.environ |= {
    "HAYHOOKS_PIPELINES_DIR": str(FOLDER),
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LOG": "WARNING",
}

import uvicorn  # noqa: E402
from fastapi import Request  # noqa: E402
from fastapi.responses import JSONResponse, StreamingResponse  # noqa: E402
from hayhooks import create_app  # noqa: E402
from hayhooks.server.pipelines import registry  # noqa: E402

APP = create_app()


@APP.get("/readyz")
async def ready() -> JSONResponse:
    """Whether it takes requests: hayhooks skips a pipeline that it cannot deploy, and goes on."""
    is_there = registry.get(NAME) is not None
    return JSONResponse({"status": "ready" if is_there else "no pipeline"}, 200 if is_there else 503)


@APP.post("/v1/pipelines/{_name}")
async def ask(request: Request, _name: str) -> StreamingResponse:
    """One question; its answer in pieces."""
    body = await request.json()
    said = await registry.get(NAME).run_api_async(body["inputs"]["question"], request.headers["x-request-id"])

    async def pieces() -> AsyncIterator[str]:
        async for text in said:
            yield f"data: {json.dumps({'type': 'text', 'text': text})}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(APP, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
