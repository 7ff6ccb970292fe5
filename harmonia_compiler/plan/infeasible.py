"""What is raised where no plan exists: which limit fails, by how much, and what would satisfy it."""

from harmonia_compiler.diagnostics.diagnostic import Rejected


class Infeasible(Rejected):
    """No plan satisfies the problem. Its findings are about limits, not about mistakes in a file."""
