"""Pure decisions: the stepper, slack, admission, routing. No clock, no socket."""
