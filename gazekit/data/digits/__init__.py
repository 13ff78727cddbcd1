"""The embedded data set: mosaics of real handwritten digits, questions about them, and the ground truth."""

from gazekit.data.digits.conversations import ManyQuestions, SingleQuestion, ask, converse, prompt
from gazekit.data.digits.datasets import (
    DigitsDataset,
    DigitsEvaluation,
    DigitsItem,
    DigitsSample,
    QuestionPlan,
)
from gazekit.data.digits.masks import crosses_border, crossing_share, mask_shares
from gazekit.data.digits.mosaics import Mosaic, MosaicSpec, Sketch, draw_layout, render, sketch
from gazekit.data.digits.preview import preview
from gazekit.data.digits.questions import Question, QuestionKind, vocabulary
from gazekit.data.digits.scans import Scans, Split, load_scans
from gazekit.data.digits.tokenizer import DigitsTokenizer

__all__ = [
    "DigitsDataset",
    "DigitsEvaluation",
    "DigitsItem",
    "DigitsSample",
    "DigitsTokenizer",
    "ManyQuestions",
    "Mosaic",
    "MosaicSpec",
    "Question",
    "QuestionKind",
    "QuestionPlan",
    "Scans",
    "SingleQuestion",
    "Sketch",
    "Split",
    "ask",
    "converse",
    "crosses_border",
    "crossing_share",
    "draw_layout",
    "load_scans",
    "mask_shares",
    "preview",
    "prompt",
    "render",
    "sketch",
    "vocabulary",
]
