"""Rehearsals: a plan on this machine, with the real gateway over emulated replicas."""
