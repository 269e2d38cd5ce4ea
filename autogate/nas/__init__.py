"""The search for gates: profiles, proposals, evaluations, workers, executors, and the loop that drives them."""
