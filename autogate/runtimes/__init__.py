"""Ways to run a network on a device."""

from autogate.runtimes.runtimes import RUNTIMES, Runnable, runnable, why_no_saving

__all__ = ["RUNTIMES", "Runnable", "runnable", "why_no_saving"]
