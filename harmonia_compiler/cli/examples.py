"""What stands below the help of commands: lines that somebody may type."""


def examples(*lines: str) -> str:
    """An epilog of click, whose lines are kept as they are."""
    return "\b\nExamples:\n" + "".join(f"  {line}\n" for line in lines)
