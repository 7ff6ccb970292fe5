"""How fast a component runs in a configuration: cost models and measurements."""
