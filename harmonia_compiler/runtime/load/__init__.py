"""Sends requests to a service at their times, whatever becomes of earlier ones, and observes what comes back."""
