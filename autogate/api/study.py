"""A study in its database, as those who read it see it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogate.errors import PolicyError, StudyError
from autogate.goals import SearchConfig
from autogate.policy import Policy
from autogate.records import FinalistRecord, Realisation, TrialRecord
from autogate.store import Store, default_storage
from autogate.studies import Reporter, choose, search_document

if TYPE_CHECKING:
    from torch import nn

    from autogate.nas.evaluating import OwnData


class Study:
    """A search in a database.

    Args:
        name: Name of the study.
        storage: SQLAlchemy URL; None for the default.

    Raises:
        StudyError: If there is no such study.
    """

    def __init__(self, name: str, storage: str | None = None) -> None:
        self.name = name
        self.storage = storage or default_storage()
        self.store = Store(self.storage)
        self.store.study(name)

    @property
    def config(self) -> SearchConfig:
        """The resolved configuration."""
        return SearchConfig.model_validate(self.store.study(self.name)[0])

    @property
    def facts(self) -> dict[str, Any]:
        """What was found out on the way: dense accuracies, budget, identities of profile and weights."""
        return self.store.study(self.name)[1]

    def document(self) -> dict[str, Any]:
        """Return the study as one JSON-ready document."""
        return search_document(self.store, self.name)

    @property
    def best(self) -> FinalistRecord | None:
        """The measured winner, or None if no finalist meets the budget."""
        return choose(self.store.finalists(self.name), self.config.budgets, self.config, self.facts)[0]

    def trials(self) -> list[TrialRecord]:
        """Return all proposals by number."""
        return self.store.trials(self.name)

    def finalist(self, which: str) -> FinalistRecord:
        """Return the measured finalist ``best``, or the one of a trial number.

        Raises:
            StudyError: If there is none; says which trials are finalists.
        """
        finalists = self.store.finalists(self.name)
        found = self.best if which == "best" else next((f for f in finalists if str(f.trial) == which), None)
        if found is None:
            known = ", ".join(str(f.trial) for f in finalists) or "none yet"
            what = "no finalist that meets the budget" if which == "best" else f"no finalist of trial {which}"
            raise StudyError(f"study {self.name!r} has {what}; finalists are the trials: {known}")
        return found

    def policy(self, which: str) -> tuple[Policy, Realisation | None]:
        """Return the policy of ``best``, of a trial number, or in a JSON file, and what is known of its decisions.

        Raises:
            StudyError: If there is none.
            PolicyError: If the file cannot be read.
        """
        if which.endswith(".json"):
            try:
                return Policy.from_json(json.loads(Path(which).read_text(encoding="utf-8"))), None
            except PolicyError as error:
                raise PolicyError(f"{which}: {error}") from None
            except (OSError, ValueError, RecursionError) as error:
                raise PolicyError(f"cannot read policy {which}: {error}") from None
        if which == "best":
            finalist = self.finalist(which)
            return finalist.policy, finalist.realisation
        for trial in self.trials():
            if str(trial.number) == which and trial.policy is not None:
                return trial.policy, self.store.realisation(trial.policy)
        raise StudyError(f"study {self.name!r} has no trial {which!r}; give a number, best, or a policy.json")

    def export(
        self,
        to: str | Path,
        which: str = "best",
        *,
        formats: Sequence[str] = ("pt2",),
        model: nn.Module | None = None,
        data: OwnData | None = None,
    ) -> dict[str, Any]:
        """Write a finalist to the directory ``to``; see :func:`autogate.export`."""
        from autogate.exporters import export_finalist, find_exporters
        from autogate.nas.evaluating import CallerInputs, load_task

        exporters = find_exporters(formats)
        finalist = self.finalist(which)
        CallerInputs(model, data).check(self.name, self.config)
        task = load_task(self.config, Reporter(), model, data)
        return export_finalist(self.store, self.name, finalist, task, Path(to), exporters)
