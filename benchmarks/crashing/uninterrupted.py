"""The policies of a study, each trained once without interruption, in one process."""

from __future__ import annotations

import torch

from autogate.nas.workers import WorkerSession, load_evaluator
from autogate.store import Store, default_storage
from autogate.studies import Reporter


def accuracies(study: str) -> dict[str, float]:
    """Return the accuracy of every policy that a study trained as a candidate, by its digest."""
    torch.set_num_threads(1)
    store = Store(default_storage())
    config = store.study(study).config
    with WorkerSession(store, study, "cpu", joined=True) as session:
        evaluator = load_evaluator(store, study, config, Reporter(), session)
    policies = {t.policy.digest: t.policy for t in store.trials(study) if t.policy and t.val_accuracy is not None}
    return {
        digest: evaluator.evaluate(policy, "short", Reporter())[0].val_accuracy for digest, policy in policies.items()
    }
