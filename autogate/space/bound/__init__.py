"""A search space bound to the sites of one network: its decisions and their choices."""

from autogate.space.bound.bound_space import DENSE_CHOICE, BoundSpace, Decision, bind

__all__ = ["BoundSpace", "DENSE_CHOICE", "Decision", "bind"]
