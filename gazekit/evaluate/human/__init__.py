"""Does the model look where people look? Agreement of its gaze with fixations, saliency maps and scanpaths."""

from gazekit.evaluate.human.agreement import MapAgreement
from gazekit.evaluate.human.bridge import gaze_map, gaze_scanpath
from gazekit.evaluate.human.maps import auc_judd, correlation, kl_divergence, nss
from gazekit.evaluate.human.scanpath import Scanpath, scanmatch

__all__ = [
    "MapAgreement",
    "Scanpath",
    "auc_judd",
    "correlation",
    "gaze_map",
    "gaze_scanpath",
    "kl_divergence",
    "nss",
    "scanmatch",
]
