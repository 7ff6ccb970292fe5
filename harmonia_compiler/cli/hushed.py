"""Whoever imports this module first has Ctrl-C end the process as it ends any program: by the signal, without a word.

Imports take longer than all else that many commands do, and an exception in the middle of one is a page of text that
says nothing. They stand at the top of a module: so what is to come before them is an import too. A command that begins
has the exception again (`stopping.heard`).
"""

# Without the names that `signal` puts on top, which take most of the time until here to make.
import _signal  # type: ignore[import-not-found] # it has no stub

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
