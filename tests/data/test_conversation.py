import pytest
from PIL import Image

from gazekit.data import Conversation, Message, Slot

PICTURE = Image.new("RGB", (4, 4))


def turn(role, *content):
    return Message(role=role, content=content)


def test_becomes_the_chat_that_templates_take():
    talk = Conversation(
        messages=(
            turn("system", "be brief"),
            turn("user", "left", Slot.IMAGE, "right", Slot.IMAGE),
            turn("assistant", "yes"),
        ),
        images=(PICTURE, PICTURE),
    )
    assert talk.as_chat() == [
        {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "left"},
                {"type": "image"},
                {"type": "text", "text": "right"},
                {"type": "image"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
    ]
    assert talk.messages[1].text == "left right"


@pytest.mark.parametrize(
    "roles",
    [[], ["system"], ["assistant"], ["user", "user"], ["user", "system"], ["user", "assistant", "assistant"]],
)
def test_roles_out_of_turn_are_refused(roles):
    with pytest.raises(ValueError, match="messages must take turns, user first"):
        Conversation(messages=tuple(turn(role, "x") for role in roles))


@pytest.mark.parametrize("images", [(), (PICTURE, PICTURE)])
def test_slots_and_images_must_agree(images):
    with pytest.raises(ValueError, match=f"messages show 1 images and images holds {len(images)}"):
        Conversation(messages=(turn("user", Slot.IMAGE, "what?"),), images=images)


def test_a_message_names_its_faults():
    with pytest.raises(ValueError, match="role must be one of system, user, assistant, got 'robot'"):
        turn("robot", "x")
    with pytest.raises(ValueError, match="content of a message must not be empty"):
        turn("user")
