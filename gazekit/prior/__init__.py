"""Maps from outside that say where to look: bottom-up saliency, and a person's gaze."""

from gazekit.prior.fixation import Fixations, fixation_map
from gazekit.prior.itti import IttiKochSaliency
from gazekit.prior.write import with_prior

__all__ = ["Fixations", "IttiKochSaliency", "fixation_map", "with_prior"]
