"""Show results: plots as self-contained pages."""

from autogate.report.front_plot import front_figure
from autogate.report.history_plot import write_history_plot
from autogate.report.place import check_plot_path
from autogate.report.sensitivity_plot import write_sensitivity_plot
from autogate.report.validation_plot import write_validation_plot

__all__ = ["check_plot_path", "front_figure", "write_history_plot", "write_sensitivity_plot", "write_validation_plot"]
