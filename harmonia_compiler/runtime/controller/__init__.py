"""The adaptive controller: a process of its own around `policy/control`, which the gateway does well without.

    gateway ──GET /readings──▶ controller ──run/decision.json──▶ gateway
                                    │
                                    └──▶ run/controller.json (its last words), run/logs/controller.jsonl (its journal)

Whatever it reads may be missing or wrong, and whatever it writes may not fit on the disk: it says so, and tries again
in its next window. It holds nothing that is not written down, so that one that was killed goes on where it was.
"""
