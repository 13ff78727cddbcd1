"""What is seen outside the model before there is a question: maps of where to look, and segments."""

from gazekit.prior.centre import CentreGuide
from gazekit.prior.fixation import Fixations, fixation_map
from gazekit.prior.itti import IttiKochSaliency
from gazekit.prior.saliency import SaliencyGuide
from gazekit.prior.shots import ShotGuide
from gazekit.prior.superpixels import SuperpixelGuide
from gazekit.prior.write import with_prior

__all__ = [
    "CentreGuide", "Fixations", "IttiKochSaliency", "SaliencyGuide", "ShotGuide", "SuperpixelGuide",
    "fixation_map", "with_prior",
]  # fmt: skip
