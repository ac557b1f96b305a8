"""Losses as data: of the main output, or of several outputs and put into the network's graph."""

from cnnbench.spec.losses.base import JointLoss, Loss, LossTarget, loss_from_fields, losses
from cnnbench.spec.losses.detectors import FasterRCNN, FastRCNN
from cnnbench.spec.losses.generative import VAE, LeastSquares, NoisePrediction, NonSaturating
from cnnbench.spec.losses.main_output import (
    L1,
    BCEWithLogits,
    CrossEntropy,
    Dice,
    MeanSquaredError,
    NegativeLogLikelihood,
    Objective,
    SmoothL1,
    SoftCrossEntropy,
    TokenCrossEntropy,
    Yolo,
)
from cnnbench.spec.losses.objective import draw_loss_targets, loss_alone, loss_targets, objective_graph
from cnnbench.spec.losses.pose import KeypointHeatmaps, PoseStages

__all__ = [
    "L1",
    "VAE",
    "BCEWithLogits",
    "CrossEntropy",
    "Dice",
    "FastRCNN",
    "FasterRCNN",
    "JointLoss",
    "KeypointHeatmaps",
    "LeastSquares",
    "Loss",
    "LossTarget",
    "MeanSquaredError",
    "NegativeLogLikelihood",
    "NoisePrediction",
    "NonSaturating",
    "Objective",
    "PoseStages",
    "SmoothL1",
    "SoftCrossEntropy",
    "TokenCrossEntropy",
    "Yolo",
    "draw_loss_targets",
    "loss_alone",
    "loss_from_fields",
    "loss_targets",
    "losses",
    "objective_graph",
]
