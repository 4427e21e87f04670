"""Flow metrics in MLflow, never in the way of the flow.

An installed plugin writes once it is told where: `MLFLOW_TRACKING_URI`, or the option `tracking_uri`. In code:

create(a.to(b), plugins=[penguiflow_mlflow.plugin(Options(tracking_uri="sqlite:///mlflow.db"))])
"""

from penguiflow_mlflow._options import Options
from penguiflow_mlflow._plugin import MlflowMetrics, plugin
from penguiflow_mlflow._report import Report

__all__ = ["MlflowMetrics", "Options", "Report", "plugin"]
