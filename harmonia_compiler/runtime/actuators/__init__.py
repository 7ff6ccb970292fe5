"""What starts, watches and stops replicas, one module a target."""
