"""A ChatML tokenizer of the few words that the digits set uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gazekit.data.digits.mosaics import MosaicSpec
from gazekit.data.digits.questions import vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
IMAGE = "<|image_pad|>"
VIDEO = "<|video_pad|>"
CONTEXT = "<|context|>"
UNKNOWN = "<unk>"
SPECIAL = (END_OF_TEXT, TURN_START, TURN_END, IMAGE, VIDEO, CONTEXT, UNKNOWN)

_ROLES = ("system", "user", "assistant")
_CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'text' -%}
{{- part['text'] -}}
{%- elif part['type'] in ('image', 'video') -%}
{{- '<|' + part['type'] + '_pad|>' -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


@dataclass(frozen=True, kw_only=True)
class DigitsTokenizer:
    """Describes the tokenizer of the digits set: one token a word, one a numeral.

    Upper case, punctuation and white space make no difference, so that "Read row 2." and "read row 2?" ask
    the same; a plural is a numeral and "s". What is not in the vocabulary becomes `<unk>`. The tokenizer
    saves and loads like any of transformers, with its chat template (ChatML).

    Args:
        mosaic: How mosaics look; larger ones need more numerals.

    Example:
        >>> DigitsTokenizer().make().tokenize("How many 3s?")
        ['how', 'many', '3', 's']
    """

    mosaic: MosaicSpec = field(default_factory=MosaicSpec)

    def make(self) -> PreTrainedTokenizerFast:
        """Builds the tokenizer."""
        from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
        from tokenizers.models import WordLevel
        from transformers import PreTrainedTokenizerFast

        words = dict.fromkeys((*SPECIAL, *_ROLES, *vocabulary(self.mosaic.cells)))
        model = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token=UNKNOWN))
        model.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        model.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}]+"), behavior="removed"),
                pre_tokenizers.Split(Regex(r"\p{N}+"), behavior="isolated"),
            ]
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=model,
            unk_token=UNKNOWN,
            eos_token=TURN_END,
            pad_token=END_OF_TEXT,
            extra_special_tokens={
                "turn_start_token": TURN_START,
                "image_token": IMAGE,
                "video_token": VIDEO,
                "context_token": CONTEXT,
            },
            chat_template=_CHAT_TEMPLATE,
            clean_up_tokenization_spaces=False,
        )
