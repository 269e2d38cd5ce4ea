"""Defaults that the command line shows before anything else is loaded."""

TRIALS = 40
FINALISTS = 2
SAMPLERS = ("tpe", "random")
BACKENDS = ("local", "ray")
