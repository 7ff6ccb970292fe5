"""Recorded traffic: one format a file, found by listing."""
