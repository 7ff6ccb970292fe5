"""Arrivals and traces: their place; the rehearsal fills it."""
