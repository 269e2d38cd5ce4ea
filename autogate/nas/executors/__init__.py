"""Who trains: this process, processes of this host, or a Ray cluster; workers of other hosts may join any of them."""

from autogate.nas.executors.executor import Team
from autogate.nas.executors.inline import SoloTeam
from autogate.nas.executors.processes import ProcessTeam
from autogate.nas.executors.requests import ask_for, obtain
from autogate.nas.executors.selection import check_team, team_for

__all__ = ["ProcessTeam", "SoloTeam", "Team", "ask_for", "check_team", "obtain", "team_for"]
