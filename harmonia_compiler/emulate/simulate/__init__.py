"""The discrete-event simulator: a whole service in virtual time, on the policies of the real one."""
