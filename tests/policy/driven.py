"""Requests that a test drives by hand, one event after the other."""

from collections.abc import Mapping
from typing import Any

from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.types import Value
from harmonia_compiler.policy.events import (
    Answer,
    Begun,
    Cancel,
    Command,
    Elapsed,
    Event,
    Fail,
    Failed,
    Finished,
    Send,
    Started,
    StartTimer,
    StopTimer,
)
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.stepper import advance
from tests.policy.programs import ARGUMENTS


class Request:
    """One request that a test drives by hand; calls go by their component, and by a number where it is called again."""

    def __init__(self, of: Program, arguments: Mapping[str, Value] = ARGUMENTS) -> None:
        self.program = of
        self.arguments = arguments
        self.state = State()
        self.sends: dict[str, Send] = {}
        self.names: dict[int, str] = {}
        self.timers: list[int] = []

    def take(self, event: Event) -> list[str]:
        """What is to be done, a word or two each."""
        return [self.told(command) for command in advance(self.program, self.state, event)]

    def told(self, command: Command) -> str:
        match command:
            case Send(number, component):
                name = next(
                    name for name in (component, *(f"{component}{n}" for n in range(2, 99))) if name not in self.sends
                )
                self.sends[name], self.names[number] = command, name
                return self.sent(name, command)
            case Cancel(number):
                return f"cancel {self.names[number]}"
            case StartTimer(timer, ms):
                self.timers.append(timer)
                return f"wait {ms:g}"
            case StopTimer():
                return "stop"
            case Answer(value):
                return f"answer {value}"
            case Fail(component, reason, _, late):
                return f"{'late' if late else 'fail'} {component}: {reason}"

    def sent(self, name: str, send: Send) -> str:
        return name

    def start(self) -> list[str]:
        return self.take(Started(self.arguments))

    def finish(self, name: str, value: Any) -> list[str]:
        return self.take(Finished(self.sends[name].call, value))

    def fail(self, name: str) -> list[str]:
        return self.take(Failed(self.sends[name].call, "it broke"))

    def begin(self, name: str) -> list[str]:
        return self.take(Begun(self.sends[name].call))

    def elapse(self, at: int = -1) -> list[str]:
        return self.take(Elapsed(self.timers[at]))
