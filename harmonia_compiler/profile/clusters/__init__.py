"""Cluster managers whose nodes can be an inventory, one file each."""
