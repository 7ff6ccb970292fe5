"""How a supervisor and its processes end: what the two sides of the lock agree on."""

#: Exit codes: the service was stopped as asked; it did not come up; somebody else looks after the bundle.
STOPPED, FAILED, HELD_BY_ANOTHER = 0, 1, 75

#: How long a process has to end by itself, in seconds, before it is killed.
GRACE_S = 10.0

#: The same for what a killed supervisor left behind: nobody waits for its answers any more.
ORPHAN_GRACE_S = 3.0
