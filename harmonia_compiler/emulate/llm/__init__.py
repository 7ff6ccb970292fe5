"""A language model's engine that schedules as vLLM does and lets its steps take the time of a profile."""
