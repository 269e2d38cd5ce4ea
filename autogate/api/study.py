"""A study in its database: read, plotted, loaded as a network, exported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogate.api.study_results import ExportReport
from autogate.errors import AutoGateError, PolicyError, StudyError
from autogate.goals import SearchConfig
from autogate.policy import Policy
from autogate.records import FinalistRecord, Realisation, StudyFacts, TrialRecord
from autogate.store import Store, default_storage
from autogate.studies import Reporter, choose, pareto_front, search_document
from autogate.system import why_unreadable

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from torch import nn

    from autogate.nas.evaluating import OwnData, Task


def storage_url(storage: str | None) -> str:
    """Return the SQLAlchemy URL of the study database; None stands for the default one."""
    return storage or default_storage()


def open_store(storage: str | None, *, create: bool = False) -> Store:
    """Open the study database at an SQLAlchemy URL; None for the default one.

    Raises:
        StorageError: If it is not there and is not to be made, or cannot be used.
    """
    return Store(storage_url(storage), create=create)


class Study:
    """A search in a database, running, finished or interrupted; every attribute is read when it is asked for.

    Args:
        name: Name of the study.
        storage: SQLAlchemy URL; None for the default.

    Raises:
        StudyError: If there is no such study.

    Example:
        >>> study = autogate.load_study("first")
        >>> study.best_trial.test_accuracy, study.best_trial.comparison.ratio
        >>> network = study.load_best_model()
    """

    def __init__(self, name: str, storage: str | None = None) -> None:
        self.name = name
        self.storage = storage_url(storage)
        self.store = Store(self.storage)
        self.store.study(name)

    @property
    def config(self) -> SearchConfig:
        """The resolved configuration."""
        return self.store.study(self.name).config

    @property
    def facts(self) -> StudyFacts:
        """What was found out on the way: the dense network, the device, identities of profile and weights."""
        return self.store.study(self.name).facts

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """All proposals by number."""
        return tuple(self.store.trials(self.name))

    @property
    def finalists(self) -> tuple[FinalistRecord, ...]:
        """Candidates that were fully trained, and measured if the target is at hand."""
        return tuple(self.store.finalists(self.name))

    @property
    def front(self) -> tuple[TrialRecord, ...]:
        """Trained candidates that no other beats in both accuracy and predicted latency, fastest first."""
        return tuple(pareto_front(self.trials, self.config.latency_stat))

    @property
    def best_trial(self) -> FinalistRecord | None:
        """The winner among the finalists, or None if none meets the budgets."""
        record = self.store.study(self.name)
        return choose(list(self.finalists), record.config.budgets, record)[0]

    @property
    def best_policy(self) -> Policy | None:
        """The winner's policy, or None if no finalist meets the budgets."""
        best = self.best_trial
        return None if best is None else best.policy

    def document(self) -> dict[str, Any]:
        """Return the study as one JSON-ready document."""
        return search_document(self.store, self.name)

    def trials_dataframe(self) -> pd.DataFrame:
        """Return one row per trial: number, outcome, accuracy, predicted latencies, costs, policy digest.

        Raises:
            AutoGateError: If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise AutoGateError("a data frame needs pandas: pip install pandas") from None
        return pd.DataFrame(
            [
                {
                    "trial": trial.number,
                    "outcome": trial.outcome,
                    "val_accuracy": trial.val_accuracy,
                    **{f"predicted_{name}_ms": value for name, value in (trial.predicted or {}).items()},
                    **(trial.costs or {}),
                    "seconds": trial.seconds,
                    "reason": trial.reason,
                    "policy": None if trial.policy is None else trial.policy.digest,
                }
                for trial in self.trials
            ]
        )

    def plot_front(self) -> go.Figure:
        """Return a figure of accuracy against latency.

        It shows the trained candidates and their front, as predicted; the finalists as measured, with the 95 %
        intervals of their latencies; the dense network; and the latency budget.
        """
        from autogate.report import front_figure

        document, target = self.document(), self.facts.target
        current = [f for f in self.finalists if target is not None and f.profile == target.profile]
        dense_ms = None if target is None else target.dense_latency_ms
        return front_figure(document, self.trials, self.front, current, self.config.latency_stat, dense_ms)

    def load_best_model(self, *, model: nn.Module | None = None, data: OwnData | None = None) -> nn.Module:
        """Return the winner as a network: compact, with its trained weights, in evaluation mode, on the CPU.

        It takes batches ``[N, C, H, W]`` and returns scores ``[N, classes]``.

        Args:
            model: The module the study was started with, if it was one.
            data: The data the study was started with, if it was no name.

        Raises:
            StudyError: If no finalist meets the budgets, or ``model`` or ``data`` is needed.
        """
        from autogate.exporters import restore_finalist

        finalist = self.finalist("best")
        return restore_finalist(self.store, self.name, finalist, self._task(model, data)).cpu().eval()

    def finalist(self, trial: int | str = "best") -> FinalistRecord:
        """Return a finalist.

        Args:
            trial: ``best`` for the winner, or a trial number.

        Raises:
            StudyError: If there is none; says which trials are finalists.
        """
        which, finalists = str(trial), self.store.finalists(self.name)
        found = self.best_trial if which == "best" else next((f for f in finalists if str(f.trial) == which), None)
        if found is None:
            known = ", ".join(str(f.trial) for f in finalists) or "none yet"
            what = "no finalist that meets the budget" if which == "best" else f"no finalist of trial {which}"
            raise StudyError(f"study {self.name!r} has {what}; finalists are the trials: {known}")
        return found

    def policy(self, trial: int | str = "best") -> tuple[Policy, Realisation | None]:
        """Return a policy, and what is known of its decisions.

        Args:
            trial: ``best`` for the winner's policy, a trial number, or a JSON file of a policy.

        Raises:
            StudyError: If there is none.
            PolicyError: If the file cannot be read.
        """
        which = str(trial)
        if which.endswith(".json"):
            try:
                return Policy.from_json(json.loads(Path(which).read_text(encoding="utf-8"))), None
            except PolicyError as error:
                raise PolicyError(f"{which}: {error}") from None
            except (OSError, ValueError, RecursionError) as error:
                raise PolicyError(f"cannot read policy {which}: {why_unreadable(error)}") from None
        if which == "best":
            finalist = self.finalist(which)
            return finalist.policy, finalist.realisation
        for record in self.trials:
            if str(record.number) == which and record.policy is not None:
                return record.policy, self.store.realisation(record.policy)
        raise StudyError(f"study {self.name!r} has no trial {which!r}; give a number, best, or a policy.json")

    def export(
        self,
        to: str | Path,
        trial: int | str = "best",
        *,
        formats: Sequence[str] = ("auto",),
        model: nn.Module | None = None,
        data: OwnData | None = None,
        time_s: float = 3.0,
    ) -> ExportReport:
        """Write a finalist to the directory ``to``, reload it and verify it.

        Args:
            to: Directory to write.
            trial: ``best`` for the winner, or the trial number of a finalist.
            formats: As in :func:`autogate.export`.
            model: The module the study was started with, if it was one; it stays as it is.
            data: The data the study was started with, if it was no name.
            time_s: Longest time to time each format for; 0 for not at all.

        Raises:
            StudyError: If there is no such finalist, or ``model`` or ``data`` is needed.
            ExportError: If it cannot be written, cannot be expressed, or does not do what the live model does.
        """
        from autogate.exporters import export_finalist, find_exporters

        target = self.store.study(self.name).facts.target
        exporters = find_exporters(formats, "eager" if target is None else target.setting.runtime)
        finalist, task = self.finalist(trial), self._task(model, data)
        return ExportReport(export_finalist(self.store, self.name, finalist, task, Path(to), exporters, seconds=time_s))

    def _task(self, model: nn.Module | None, data: OwnData | None) -> Task:
        from autogate.nas.evaluating import CallerInputs, load_task

        CallerInputs(model, data).check(self.name, self.config)
        return load_task(self.config, Reporter(), model, data, own_task=self.store.study(self.name).facts.own_task)
