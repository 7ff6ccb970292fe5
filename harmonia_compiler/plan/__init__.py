"""Flow, inventory and profiles to a plan, by integer programming."""
