"""Percentiles, tables and charts: one of each."""
