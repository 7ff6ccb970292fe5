"""The controller's decisions, pure: readings of a running service in, what to change out, with the reasons in words.

    readings ──window──▶ what happened ──ratios, forecast, bursts──▶ corrected plan ──division, counts──▶ decision

Every step is a function of its arguments; the time and the linear program that divides calls are handed in. The
process around it is `runtime/controller`. Nothing in here trusts one window: a correction moves by a bounded step, a
change is held for a while, and at most one engine's number of replicas changes in a window.
"""
