"""One worker process: `python -m harmonia_compiler.runtime.worker embedder|rerank|llm|python …`.

Only the module of the role that is asked for is loaded, since two of them bring torch.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from harmonia_compiler.runtime.worker.outcome import lasting
from harmonia_compiler.runtime.worker.server import Role, serve


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harmonia_compiler.runtime.worker", allow_abbrev=False)
    roles = parser.add_subparsers(dest="role", required=True)
    for name in ("embedder", "rerank", "llm"):
        _add_model_arguments(roles.add_parser(name, allow_abbrev=False), name)
    python = roles.add_parser("python", allow_abbrev=False)
    python.add_argument("--function", required=True, help="the function, as module:name")
    python.add_argument("--code", required=True, type=Path, help="the folder that the module is imported from")
    _add_common_arguments(python)
    return parser


def _add_model_arguments(parser: argparse.ArgumentParser, role: str) -> None:
    parser.add_argument("--model", required=True, help="the name that requests give")
    parser.add_argument("--weights", required=True, type=Path, help="the model's folder")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16", "any"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch", default=1, type=_positive, help="how many calls are worked on at once")
    if role == "llm":
        parser.add_argument("--max-model-len", default=4096, type=_positive, help="tokens of prompt and answer")
    _add_common_arguments(parser)


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cores", default=1, type=_positive, help="threads")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", required=True, type=int)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def main() -> int:
    """Serve until told to stop; gives the exit code."""
    arguments = _parser().parse_args()
    make_role = import_module(f"harmonia_compiler.runtime.worker.{arguments.role}").make_role
    role: Role = make_role(arguments)
    return lasting(serve(role, arguments.host, arguments.port))


if __name__ == "__main__":
    sys.exit(main())
