"""What is asked: prompts to the letter, where images stand, what a record keeps."""

import pytest

from gazekit.evaluate import aggregate, verdict
from gazekit.evaluate.benchmarks import GROUPS, TASKS, named
from gazekit.evaluate.harness import Plan, contents, question_of
from gazekit.evaluate.scorers import find
from tests.evaluate.prompts import SAMPLES
from tests.models.tiny import picture

SAME = {
    "cv_bench_omni3d": "cv_bench_ade",
    "mlvu_test": "mlvu_dev",
    "tempcompass_rule": "tempcompass_yes_no_rule",
}


def sample(name: str) -> dict:
    """A row with its images."""
    doc = dict(SAMPLES[SAME.get(name, name)][0])
    shown = {"mmmu_val": ["image_1", "image_2"], "mathvista_rule": ["decoded_image"]}.get(name, ["image"])
    pictures = {} if TASKS[name].kind == "video" else {one: picture(n) for n, one in enumerate(shown)}
    return doc | pictures | ({"form": "yes_no"} if name == "tempcompass_rule" else {})


@pytest.mark.parametrize("name", SAMPLES)
def test_prompts_to_the_letter(name):
    _, lmms, cambrian = SAMPLES[name]
    forms, doc = TASKS[name].forms, sample(name)
    assert forms["lmms"].prompt(doc) == lmms
    assert forms["cambrian"].prompt(doc) == (cambrian or lmms)


def test_every_benchmark_has_a_sample():
    assert TASKS.keys() == SAMPLES.keys() | SAME.keys()


@pytest.mark.parametrize("name", TASKS)
def test_a_record_keeps_what_scoring_needs(name):
    """Scored again from the record alone, an answer is worth the same."""
    task = TASKS[name]
    doc = sample(name) | {"duration": "short", "task_type": "count", "ocr_tokens": ["x"]}
    for profile in ("lmms", "cambrian"):
        whole, kept = (verdict(name, "A", one, profile) for one in (doc, task.kept(doc)))
        assert whole == kept
        if name == "mme":
            continue  # Its questions come in pairs.
        assert find(name).headline in aggregate(name, [{"doc": task.kept(doc), "score": 1.0}], profile)
    assert isinstance(task.sample(doc, 3), str)
    assert isinstance(task.group(doc), str)


def test_the_groups_are_the_columns_of_the_paper():
    assert [len(GROUPS[kind]) for kind in ("image", "video")] == [14, 6]
    for kind, names in GROUPS.items():
        assert {TASKS[name].kind for name in names} == {kind}
        assert len({find(name).title for name in names}) == len(names)


def test_names_and_groups():
    assert named(["gqa", "video", "videomme", "digits"], also=["digits"]) == [
        "gqa",
        *GROUPS["video"],
        "digits",
    ]
    with pytest.raises(ValueError, match=r"got chartqq; did you mean chartqa\?"):
        named(["chartqq"])


@pytest.mark.parametrize(
    ("prompt", "images", "content"),
    [
        ("ask", 0, ["ask"]),
        ("ask", 2, [None, None, "ask"]),
        ("<image>\nask", 1, [None, "\nask"]),
        ("see<image>and<image>?", 2, ["see", None, "and", None, "?"]),
        ("see<image>and<image>?", 0, ["seeand?"]),
        ("<image>", 1, [None]),
    ],
)
def test_images_stand_where_their_marks_are(prompt, images, content):
    parts = [part.get("text") for part in contents(prompt, images)]
    assert parts == content


def test_profiles_show_what_they_show():
    doc = sample("mmmu_val")
    _, whole = question_of(TASKS["mmmu_val"], [doc], doc, Plan())
    _, first = question_of(TASKS["mmmu_val"], [doc], doc, Plan(profile="cambrian"))
    assert [len(one.images) for one in (whole, first)] == [2, 1]
    assert [part["type"] for part in whole.messages[0]["content"]] == [
        "text",
        "image",
        "text",
        "image",
        "text",
    ]


def test_nothing_is_shown_to_the_blind():
    doc = sample("gqa")
    prompt, question = question_of(TASKS["gqa"], [doc], doc, Plan(blind=True))
    assert question.images == []
    assert question.messages[0]["content"] == [{"type": "text", "text": prompt}]
    _, seeing = question_of(TASKS["gqa"], [doc], doc, Plan())
    assert seeing.blind().messages == question.messages
    assert (seeing.blind().images, seeing.blind().videos) == ((), ())
    _, marked = question_of(TASKS["gqa"], [doc], doc, Plan(blind=True, profile="cambrian"))
    assert [part["type"] for part in marked.messages[0]["content"]] == ["text"]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"profile": "lmm"}, "profile must be one of lmms, cambrian, got 'lmm'"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"frames": 0}, "frames must be at least 1, got 0"),
        ({"fps": 0.0}, "fps must be above 0, got 0.0"),
    ],
)
def test_a_plan_is_checked(fields, fault):
    with pytest.raises(ValueError, match=fault):
        Plan(**fields)
