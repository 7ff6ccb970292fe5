"""The OpenAI-compatible front: executes Programs against running replicas."""
