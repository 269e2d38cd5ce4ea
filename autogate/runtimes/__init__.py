"""Ways to run a network on a device."""

from autogate.runtimes.runtimes import RUNTIMES, Runnable, no_saving_reason, runnable

__all__ = ["RUNTIMES", "Runnable", "no_saving_reason", "runnable"]
