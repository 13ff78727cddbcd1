"""Which benchmarks have a scorer, by lmms-eval's names of tasks, and by ours where it has none."""

from __future__ import annotations

from dataclasses import replace

from gazekit.evaluate.scorers import (
    chartqa,
    cvbench,
    egoschema,
    gqa,
    longvideobench,
    mathvista,
    mlvu,
    mmbench,
    mme,
    mmmu,
    mmvp,
    nextqa,
    ocrbench,
    realworldqa,
    scienceqa,
    tempcompass,
    textvqa,
    videomme,
)
from gazekit.evaluate.scorers.benchmark import Benchmark


def _part(benchmark: Benchmark, what: str) -> Benchmark:
    """The same rules for other samples or prompts, which must not stand in the paper's column."""
    return replace(benchmark, title=f"{benchmark.title} ({what})")


_IMAGE = {
    "mme": mme.MME,
    "mmbench_en_dev": mmbench.MMBENCH_EN,
    "mmbench_en_dev_lite": _part(mmbench.MMBENCH_EN, "lite"),
    "mmbench_en_dev_static": mmbench.MMBENCH_EN_STATIC,
    "mmbench_cn_dev": mmbench.MMBENCH_CN,
    "mmbench_cn_dev_lite": _part(mmbench.MMBENCH_CN, "lite"),
    "mmbench_cn_dev_static": mmbench.MMBENCH_CN_STATIC,
    "mmvp": mmvp.MMVP,
    "realworldqa": realworldqa.REALWORLDQA,
    "cv_bench": cvbench.CV_BENCH,
    "cv_bench_2d": _part(cvbench.CV_BENCH, "2D"),
    "cv_bench_3d": _part(cvbench.CV_BENCH, "3D"),
    "cv_bench_ade": cvbench.CV_BENCH_ADE,
    "cv_bench_omni3d": cvbench.CV_BENCH_OMNI3D,
    "gqa": gqa.GQA,
    "gqa_lite": _part(gqa.GQA, "lite"),
    "scienceqa": _part(scienceqa.SCIENCEQA, "with text alone"),
    "scienceqa_img": scienceqa.SCIENCEQA,
    "mmmu_val": mmmu.MMMU,
    "mathvista_rule": mathvista.MATHVISTA_RULE,
    "mathvista_testmini_format": mathvista.MATHVISTA,
    "mathvista_testmini_cot": mathvista.MATHVISTA,
    "mathvista_testmini_solution": mathvista.MATHVISTA,
    "mathvista(normalize)": mathvista.MATHVISTA_LAST_STEP,
    "chartqa": chartqa.CHARTQA,
    "chartqa_lite": _part(chartqa.CHARTQA, "lite"),
    "ocrbench": ocrbench.OCRBENCH,
    "textvqa_val": textvqa.TEXTVQA,
    "textvqa_val_lite": _part(textvqa.TEXTVQA, "lite"),
}
_VIDEO = {
    "videomme": videomme.VIDEOMME,
    "videomme_w_subtitle": _part(videomme.VIDEOMME, "subtitles"),
    "videomme_long": _part(videomme.VIDEOMME, "long"),
    "videomme_long_w_subtitle": _part(videomme.VIDEOMME, "long, subtitles"),
    "mlvu_dev": mlvu.MLVU_DEV,
    "mlvu_test": _part(mlvu.MLVU_TEST, "test"),
    "egoschema": egoschema.EGOSCHEMA,
    "egoschema_subset": egoschema.EGOSCHEMA,
    "longvideobench_val_v": longvideobench.LONGVIDEOBENCH,
    "longvideobench_val_i": longvideobench.LONGVIDEOBENCH,
    "nextqa_mc_test": nextqa.NEXTQA,
    "tempcompass_multi_choice": _part(tempcompass.MULTI_CHOICE, "multiple choice"),
    "tempcompass_yes_no": _part(tempcompass.YES_NO, "yes or no"),
    "tempcompass_caption_matching": _part(tempcompass.CAPTION_MATCHING, "caption matching"),
    "tempcompass_captioning": _part(tempcompass.CAPTIONING, "captioning"),
    "tempcompass_multi_choice_rule": _part(tempcompass.MULTI_CHOICE, "multiple choice"),
    "tempcompass_yes_no_rule": _part(tempcompass.YES_NO, "yes or no"),
    "tempcompass_caption_matching_rule": _part(tempcompass.CAPTION_MATCHING, "caption matching"),
    "tempcompass_captioning_rule": _part(tempcompass.CAPTIONING, "captioning"),
    "tempcompass_rule": tempcompass.ALL_FORMS,
}

BENCHMARKS: dict[str, Benchmark] = _IMAGE | _VIDEO
"""Benchmarks by task name. `mathvista(normalize)` is the last step of MathVista's scoring, for tests of it."""
