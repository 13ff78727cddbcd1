"""lmms-eval's own scorers, called as its tasks call them. Importable only where lmms-eval is installed."""

import contextlib
import importlib
import io
import os
import random
import tempfile
import types
import warnings
from copy import deepcopy

import pytest


def module(path: str) -> types.ModuleType:
    """A module of lmms-eval, imported with what its import wants: a key, a cache, silence."""
    os.environ.setdefault("OPENAI_API_KEY", "none")
    os.environ.setdefault("HF_HOME", tempfile.mkdtemp())
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from loguru import logger

        logger.remove()
        try:
            return importlib.import_module(f"lmms_eval.{path}")
        except ModuleNotFoundError as missing:
            # Extras of lmms-eval: decord for LongVideoBench, Levenshtein for MathVista.
            pytest.skip(f"lmms_eval.{path} wants {missing.name}")


def task(name: str) -> types.ModuleType:
    """The functions of a task."""
    return module(f"tasks.{name}.utils")


def quiet(function, *arguments):
    """Calls a function without what it prints and warns of."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return function(*arguments)


def score(benchmark: str, prediction: str, doc: dict, seed: int = 0, target=None) -> float:
    """What lmms-eval scores a prediction with, its judges silent; guesses are those after `random.seed(seed)`."""
    random.seed(seed)
    return float(_SCORERS[benchmark](prediction.strip(), deepcopy(doc), target))


def _first(name: str, function: str, key: str | None = None, field: str | None = None):
    """A scorer whose task has its score in one place of what `process_results` gives."""

    def of(prediction, doc, target):
        found = getattr(task(name), function)(doc, [prediction])
        value = found[key] if key else next(iter(found.values()))
        return value[field] if field else value

    return of


def _gqa(prediction, doc, target):
    match = module("api.metrics").exact_match_fn
    return match(
        predictions=[prediction], references=[doc["answer"]], ignore_case=True, ignore_punctuation=True
    )["exact_match"]


def _mmmu(prediction, doc, target):
    utils = task("mmmu")
    return quiet(utils.mmmu_aggregate_results, [utils.mmmu_process_results(doc, [prediction])["mmmu_acc"]])


def _mlvu(prediction, doc, target):
    found = task("mlvu").mlvu_process_results(doc, [prediction])["mlvu_percetion_score"]
    return found["pred_answer"] == found["answer"]


def _egoschema(prediction, doc, target):
    utils = task("egoschema")
    found = utils.egoschema_process_results_generation(doc, [prediction])["score"]
    return utils.egoschema_aggregate_score([found], None)


def _longvideobench(prediction, doc, target):
    utils = task("longvideobench")
    found = utils.longvideobench_process_results(doc, [prediction])["lvb_acc"]
    return utils.longvideobench_aggregate_results([found])


def _mmbench(prediction, doc, target):
    row = module("tasks.mmbench.en_utils").mmbench_process_results(
        {
            "hint": "",
            "source": "",
            "split": "dev",
            "category": "c",
            "L2-category": "l",
            "question": "q",
            **doc,
        },
        [prediction],
    )["gpt_eval_score"]
    return mmbench([row]) / 100.0


def mmbench(rows) -> float:
    """The static, circular score of rows, in per cent."""
    evaluator = module("tasks.mmbench.mmbench_evals").MMBench_Evaluator()
    return 100.0 * quiet(evaluator.eval_result, rows, "static")[0]


def _mathvista(prediction, doc, target):
    utils = task("mathvista")
    utils.MathVistaEvaluator.get_chat_response = lambda self, *arguments, **options: ""
    return utils.mathvista_process_results(doc, [prediction])["llm_as_judge_eval"]["true_false"]


def _mathvista_last_step(prediction, doc, target):
    evaluator = task("mathvista").mathvista_evaluator
    said = evaluator.normalize_extracted_answer(
        prediction, doc["choices"], doc["question_type"], doc["answer_type"], doc["precision"]
    )
    return evaluator.safe_equal(said, doc["answer"] if target is None else target)


def _tempcompass(form: str):
    def of(prediction, doc, target):
        utils = task("tempcompass")
        utils.get_eval_result = lambda prompt: (None, 0)
        process = getattr(utils, f"tempcompass_process_results_{form}")
        return process(doc, [prediction])["avg_accuracy"]["rating"]

    return of


_SCORERS = {
    "mme": _first("mme", "mme_process_results", field="score"),
    "mmbench_en_dev_static": _mmbench,
    "mmvp": _first("mmvp", "mmvp_process_results", "mmvp_accuracy", "is_correct"),
    "realworldqa": _first("realworldqa", "realworldqa_process_results"),
    "cv_bench": _first("cv_bench", "cv_bench_process_results", field="is_correct"),
    "cv_bench_2d": _first("cv_bench", "cv_bench_process_results", field="is_correct"),
    "cv_bench_3d": _first("cv_bench", "cv_bench_process_results", field="is_correct"),
    "gqa": _gqa,
    "scienceqa_img": _first("scienceqa", "sqa_process_results"),
    "mmmu_val": _mmmu,
    "mathvista_testmini_format": _mathvista,
    "mathvista(normalize)": _mathvista_last_step,
    "chartqa": _first("chartqa", "chartqa_process_results", "relaxed_overall"),
    "ocrbench": _first("ocrbench", "ocrbench_process_results", "ocrbench_accuracy", "score"),
    "textvqa_val": _first("textvqa", "textvqa_process_results", "exact_match"),
    "videomme": _first("videomme", "videomme_process_results", field="score"),
    "mlvu_dev": _mlvu,
    "egoschema_subset": _egoschema,
    "longvideobench_val_v": _longvideobench,
    "nextqa_mc_test": _first("nextqa", "nextqa_mc_process_results"),
    "tempcompass_multi_choice": _tempcompass("multi_choice"),
    "tempcompass_yes_no": _tempcompass("yes_no"),
    "tempcompass_caption_matching": _tempcompass("caption_matching"),
}
