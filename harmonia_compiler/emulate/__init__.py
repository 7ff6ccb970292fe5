"""Emulated engines and the simulator: their place; the rehearsal fills it."""
