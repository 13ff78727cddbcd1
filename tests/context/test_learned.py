import pytest

from gazekit.context import LearnedContext
from gazekit.contracts import Context
from tests.scenes import layout


def test_it_is_a_context_without_a_rule():
    tokens = layout("v2x2 c4 t1").tokens
    context = LearnedContext()
    assert isinstance(context, Context)
    assert context.num_tokens == 4
    assert context.keeps(tokens, tokens) is None


def test_refuses_no_tokens():
    with pytest.raises(ValueError, match=r"num_tokens must be at least 1, got 0; use Gaze\(context=None\)"):
        LearnedContext(num_tokens=0)
