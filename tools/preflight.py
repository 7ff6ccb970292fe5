"""Checks that this machine can hold and run Harmonia's environment, and says what to do where it cannot.

    python3 tools/preflight.py

Any Python can read this file, 2.7 too: one too old for `machine.py`, where the checks stand, is named here and does not
end in a syntax error. Exits 0 where everything needed is there, 1 where something is missing.
"""

import os
import runpy
import sys

if sys.version_info < (3, 7):  # noqa: UP036  (the very question here)
    print("  missing  python   Python %d.%d" % sys.version_info[:2])  # noqa: UP031
    print("           -> install Python 3.11 or newer and run `make PYTHON=python3.11 ...`")
    sys.exit(1)
runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "machine.py"), run_name="__main__")  # noqa: PTH100, PTH118, PTH120
