"""Which candidate comes next, and which are worth finishing."""

from autogate.nas.proposing.candidates import Candidates
from autogate.nas.proposing.optuna_trials import OpenTrial, OptunaTrials, TrialHandle
from autogate.nas.proposing.proposals import Choices, ProposalLimits, Proposer, Sensitivity, paying_gates, savings
from autogate.nas.proposing.ranking import Pick, picker
from autogate.nas.proposing.sampler import Sampler, SamplerTrial, load_sampler

__all__ = [
    "Candidates",
    "Choices",
    "OpenTrial",
    "OptunaTrials",
    "Pick",
    "ProposalLimits",
    "Proposer",
    "Sampler",
    "SamplerTrial",
    "Sensitivity",
    "TrialHandle",
    "load_sampler",
    "paying_gates",
    "picker",
    "savings",
]
