"""Defaults that the command line shows before anything else is loaded."""

TRIALS = 40
FINALISTS = 2
SAMPLERS = ("tpe", "random", "gp", "nsgaii")
PYTHON = "python:"
"""Begins the name of what a caller passed as an object: the name of its class follows."""
BACKENDS = ("local", "ray")
