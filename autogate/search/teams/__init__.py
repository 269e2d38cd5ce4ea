"""Who trains: this process, processes of this host, or a Ray cluster; workers of other hosts may join any of them."""

from autogate.search.teams.processes import ProcessTeam
from autogate.search.teams.solo import SoloTeam
from autogate.search.teams.team import Team

__all__ = ["ProcessTeam", "SoloTeam", "Team"]
