"""Target `compose`: containers, looked after by a process of the host that is no container.

`actuator` is what a command does; `keeper` is the process that lives on. What containers must not have, the socket of
their runtime, it has, and takes from them only how many replicas there shall be (`asking`).
"""

from harmonia_compiler.runtime.actuators.compose.actuator import Compose

ACTUATOR = Compose()
