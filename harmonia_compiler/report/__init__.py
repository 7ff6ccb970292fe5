"""What became of requests: observations, measures, and the one report of simulations, rehearsals and measurements."""
