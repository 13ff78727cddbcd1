"""What scores or attention are pulled toward in training, beside the model's own loss."""

from gazekit.loss._mass import attention_mass
from gazekit.loss.distillation import DistillationLoss
from gazekit.loss.map import MapLoss

__all__ = ["DistillationLoss", "MapLoss", "attention_mass"]
