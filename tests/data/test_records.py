import pytest

from gazekit.data import read_record
from gazekit.data.conversation import Slot
from gazekit.data.records import ImageFile, RowFault, VideoFile
from tests.data.dirty import turns

IMAGE, VIDEO = Slot.IMAGE, Slot.VIDEO


def contents(row):
    return [message.content for message in read_record(row).messages]


def test_a_row_of_llava_is_a_record():
    row = {
        "id": 7,
        "image": "coco/1.jpg",
        "data_source": "coco",
        "conversations": turns("<image>\nwhat?", "a lamp"),
    }
    record = read_record(row, "file")
    assert (record.name, record.source, record.duration) == ("7", "coco", None)
    assert record.images == (ImageFile("coco/1.jpg"),)
    assert [message.role for message in record.messages] == ["user", "assistant"]
    assert contents(row) == [(IMAGE, "\nwhat?"), ("a lamp",)]


def test_a_source_is_the_rows_own_or_the_files():
    assert read_record({"conversations": turns("a?"), "source": "ocr"}, "file").source == "ocr"
    assert read_record({"conversations": turns("a?")}, "file").source == "file"


@pytest.mark.parametrize(
    "nothing", [{}, {"image": ""}, {"image": None}, {"image": "none"}, {"image": float("nan")}]
)
def test_text_alone_shows_nothing(nothing):
    record = read_record({"conversations": turns("hello"), **nothing})
    assert (record.images, record.videos) == ((), ())


def test_images_stand_where_their_marks_do():
    row = {
        "image": ["a.jpg", "b.jpg"],
        "conversations": [*turns("first <image> then"), *turns("now <image>?", "yes")],
    }
    assert contents(row) == [("first ", IMAGE, " then"), ("a lamp",), ("now ", IMAGE, "?"), ("yes",)]
    assert read_record(row).images == (ImageFile("a.jpg"), ImageFile("b.jpg"))


def test_without_marks_everything_stands_before_the_first_question():
    row = {"images": ["a.jpg", "b.jpg"], "video": "c.mp4", "conversations": turns("what?")}
    assert contents(row)[0] == (IMAGE, "\n", IMAGE, "\n", VIDEO, "\n", "what?")


def test_cambrian_s_marks_a_video_as_an_image():
    row = {"video": "c.mp4", "conversations": turns("<image>\nwhat?")}
    assert contents(row)[0] == (VIDEO, "\nwhat?")
    assert contents({**row, "image": "a.jpg", "conversations": turns("<image><video>?")})[0] == (
        IMAGE,
        VIDEO,
        "?",
    )


def test_a_video_has_its_limits():
    row = {
        "video": "c.mp4",
        "start": 2,
        "end": 8.5,
        "fps": 3,
        "conversations": turns("<video>?"),
        "video_duration": 60,
    }
    assert read_record(row).videos == (VideoFile("c.mp4", start=2.0, end=8.5, fps=3.0),)
    assert read_record(row).duration == 6.5
    row = {
        "video": "c.mp4",
        "start_frame": 4,
        "end_frame": 90,
        "conversations": turns("<video>?"),
        "video_duration": 60,
    }
    assert read_record(row).videos == (VideoFile("c.mp4", first_frame=4, last_frame=90),)
    assert read_record({**row, "current_observation_frame": 50}).videos[0].last_frame == 50
    assert read_record(row).duration == 60.0


def test_a_row_of_messages_with_typed_parts_is_a_record():
    messages = [
        {"role": "system", "content": "be short"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "this", "image": None},
                {"type": "image", "image": "a.jpg"},
                {"type": "text", "text": "and this"},
                {"type": "image", "path": "b.jpg"},
                {"type": "video", "video": "c.mp4"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "a lamp"}]},
    ]
    record = read_record({"messages": messages})
    assert [message.role for message in record.messages] == ["system", "user", "assistant"]
    assert record.messages[1].content == ("this", IMAGE, "and this", IMAGE, VIDEO)
    assert record.images == (ImageFile("a.jpg"), ImageFile("b.jpg"))
    assert record.videos == (VideoFile("c.mp4"),)
    with pytest.raises(RowFault, match="image must be named by the row or inside its messages, got both"):
        read_record({"messages": messages, "image": "a.jpg"})


def test_typed_images_may_be_named_by_the_row():
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]},
        {"role": "assistant", "content": "a lamp"},
    ]
    assert read_record({"messages": messages, "image": "a.jpg"}).images == (ImageFile("a.jpg"),)


def test_images_in_the_row_itself_are_those_of_datasets():
    row = {"image": {"bytes": b"123", "path": "/etc/passwd"}, "conversations": turns()}
    assert read_record(row).images == (ImageFile(None, b"123"),)
    assert read_record({**row, "image": {"bytes": None, "path": "a.jpg"}}).images == (ImageFile("a.jpg"),)


def test_a_conversation_that_the_assistant_opens_begins_with_its_first_question():
    row = {"conversations": [{"from": "gpt", "value": "hi"}, *turns("what?")]}
    assert contents(row) == [("what?",), ("a lamp",)]


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ({}, "type", "conversations must be given, or messages; got the keys"),
        ({"conversations": []}, "type", "conversations must be a list of turns, got list"),
        ({"conversations": turns()}, "marks", "<image> stands 1 times for 0 images"),
        ({"conversations": turns("<video>"), "image": "a"}, "marks", "<image> stands 0 times for 1 images"),
        ({"conversations": turns("", "")}, "type", "must not be empty"),
        ({"conversations": [{"from": "human", "value": [3]}]}, "type", "must be a text, an image or a video"),
        (
            {"conversations": [{"from": "human", "value": [{"type": "text", "text": 3}]}]},
            "type",
            "must be a text",
        ),
        ({"conversations": turns("a"), "video": {"a": 1}}, "type", "video must be a path"),
        ({"conversations": turns(), "video": "a", "fps": 0}, "type", "fps must be above 0"),
        ({"conversations": turns(), "video": "a", "fps": 1e-320}, "type", "fps must be above 0, from 1e-06"),
        (
            {"conversations": turns(), "video": "a", "start": 10**400},
            "type",
            "start must be a number, got int",
        ),
        ({"conversations": turns(), "video": "a", "start_frame": -1}, "type", "start_frame must be a frame"),
        ({"conversations": turns(), "video": "a", "end": True}, "type", "end must be a number, got bool"),
    ],
)
def test_faults_say_what_they_are_about(row, kind, message):
    with pytest.raises(RowFault, match=message) as fault:
        read_record(row)
    assert fault.value.kind == kind
