"""Where records go beside the run's folder: JSON lines (``jsonl``) and MLflow (``mlflow``).

The MLflow recorder plans its runs (``mlflow_layout``) and saved views (``mlflow_views``) as values and sends them in
one go from the records on disk, so that a tracking server that fails costs seconds and no data.
"""
