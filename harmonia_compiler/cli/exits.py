"""Exit codes: part of the command's contract."""

FINE = 0
DIAGNOSTICS = 1
USAGE = 2
INFEASIBLE = 3
BUG = 70
INTERRUPTED = 130
#: Whoever read what would have gone on without an end has left; shells count SIGPIPE so.
UNREAD = 141
