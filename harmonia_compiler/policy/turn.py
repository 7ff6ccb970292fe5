"""One turn of the stepper: from an event to its commands. What the modules beside this one work on."""

import msgspec

from harmonia_compiler.contract.program import Call, Program
from harmonia_compiler.policy.events import Answer, Cancel, Command, Fail, Send, StopTimer
from harmonia_compiler.policy.frames import Place, Run, State


class Turn(msgspec.Struct, eq=False):
    """The work at hand: `agenda` are the places to bring further, the last one first.

    `orphans` are places that have just lost somebody who awaits them. Whether they have lost everybody
    is known once the agenda is empty: what a fallback shares with the attempt that it replaces goes on.
    Both are the state's, so that a turn may be interrupted.
    """

    program: Program
    state: State
    agenda: list[Place]
    orphans: list[Place]
    _commands: list[Command | None] = []
    _sent: dict[int, int] = {}

    def send(self, send: Send, place: Place) -> None:
        """Make a call."""
        self.state.in_flight[send.call] = place
        self._sent[send.call] = len(self._commands)
        self._commands.append(send)

    def command(self, command: Command) -> None:
        """Say that something else is to be done."""
        self._commands.append(command)

    def is_unsent(self, call: int) -> bool:
        """Whether a call was decided on in this turn, so that it can still be as if it never was."""
        return call in self._sent

    def cancel(self, call: int) -> None:
        """Stop a call in flight; one that nobody has seen yet is not even sent."""
        del self.state.in_flight[call]
        at = self._sent.pop(call, None)
        if at is None:
            self._commands.append(Cancel(call))
        else:
            self._commands[at] = None

    def stop_timer(self, run: Run) -> None:
        """Stop an attempt's clock, if it runs."""
        if run.timer is not None:
            del self.state.timers[run.timer]
            self._commands.append(StopTimer(run.timer))
            run.timer = None

    def end(self, ended: Answer | Fail) -> None:
        """End the request, and with it whatever still runs."""
        self.state.ended = True
        for call in list(self.state.in_flight):
            self.cancel(call)
        for run in list(self.state.timers.values()):
            self.stop_timer(run)
        self._commands.append(ended)

    def commands(self) -> list[Command]:
        """What is to be done, in order."""
        return [command for command in self._commands if command is not None]


def is_pure(program: Program, call: Call) -> bool:
    """Whether a call may be made more than once, and without being needed."""
    own = program.components[call.component].settings
    return call.settings.get("pure", own.get("pure", True)) is not False
