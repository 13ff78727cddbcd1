"""Answers of saved models: one or many at once, word by word, turn after turn."""

from gazekit.models.answering.answerer import Answerer
from gazekit.models.answering.once import generate
from gazekit.models.answering.question import Question
from gazekit.models.answering.sampling import Sampling
from gazekit.models.answering.talk import Talk

__all__ = ["Answerer", "Question", "Sampling", "Talk", "generate"]
