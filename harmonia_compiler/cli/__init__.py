"""The command `harmoniac`: one command a file, and the only place that prints and exits."""
