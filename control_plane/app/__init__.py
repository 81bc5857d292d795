"""Builds every object and runs them: `main.run`."""
