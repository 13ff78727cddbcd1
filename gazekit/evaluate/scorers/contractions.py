"""English contractions that have lost an apostrophe, and what VQA evaluation makes of them."""

from __future__ import annotations

# The list of the VQA evaluation, as far as lower case reaches it. Not every contraction of English is in it.
_ONE_APOSTROPHE = """
    ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't
    it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't
    somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's
    they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's
    where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
# Written with the one or the other apostrophe.
_TWO_APOSTROPHES = """
    couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've someone'd've something'd've there'd've
    they'd've we'd've who'd've wouldn't've you'd've
"""
_OTHERS = {
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "somebody'd": "somebodyd",  # the wrong way round in that list
    "somebodyd've": "somebody'd've",
    "somebody'dve": "somebody'd've",
    "yall'll": "y'all'll",
    "y'allll": "y'all'll",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
}


def _joined(word: str) -> tuple[str, str]:
    """A word of two apostrophes without the first, and without the second."""
    head, middle, end = word.split("'")
    return f"{head}{middle}'{end}", f"{head}'{middle}{end}"


CONTRACTIONS = (
    {word.replace("'", ""): word for word in _ONE_APOSTROPHE.split()}
    | {written: word for word in _TWO_APOSTROPHES.split() for written in _joined(word)}
    | _OTHERS
)
"""Contractions by how they are written."""
