"""Standard error for logs: what cannot be written there is lost at once.

Python keeps what it could not write (a full disk, a closed pipe) for another try, and where that fails as well when the
process ends, it ends with 120, whatever its own code was.
"""

import io


def unbuffered() -> io.TextIOWrapper:
    """A stream to standard error that keeps nothing back. Raises OSError where there is none."""
    return io.TextIOWrapper(
        io.FileIO(2, "w", closefd=False),
        encoding="utf-8",
        errors="backslashreplace",
        write_through=True,
    )
