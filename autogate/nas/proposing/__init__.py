"""Which candidate comes next, and which are worth finishing."""

from autogate.nas.proposing.candidates import Candidates
from autogate.nas.proposing.optuna_trials import Begun, OpenTrial, TrialLog
from autogate.nas.proposing.proposals import Choices, Proposer, Sensitivity, paying, savings
from autogate.nas.proposing.ranking import Pick, picker
from autogate.nas.proposing.sampler import Sampler, Seen

__all__ = [
    "Begun",
    "Candidates",
    "Choices",
    "OpenTrial",
    "Pick",
    "Proposer",
    "Sampler",
    "Seen",
    "Sensitivity",
    "TrialLog",
    "paying",
    "picker",
    "savings",
]
