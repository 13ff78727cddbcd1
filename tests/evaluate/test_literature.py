"""The published rows are whole, and add up as far as their formulas are known."""

import pytest

from gazekit.evaluate import published
from gazekit.evaluate.scorers import BENCHMARKS

FULL = [row for row in published() if row.average is not None]


def test_both_tables_are_there_in_order():
    assert [row.model for row in published("image")][:2] == ["BLIP-2-7B", "SPHINX-7B"]
    assert [len(published(table)) for table in ("image", "video", None)] == [19, 8, 27]
    assert [row.entries for row in published("video")] == [
        "20K",
        "4K",
        "4K",
        "4K",
        "2K",
        "10K",
        "1.5K",
        "1.5K",
    ]
    with pytest.raises(ValueError, match=r"table must be one of \('image', 'video'\), got 'audio'"):
        published("audio")


def test_columns_are_benchmarks_that_have_a_scorer():
    titles = {benchmark.title for benchmark in BENCHMARKS.values()}
    columns = {column for row in published() for column in row.scores}
    assert len(columns) == 20
    others = titles - columns - {"CV-Bench"}
    assert columns < titles
    # Parts and variants say in brackets what they are, so that they never stand in a column of the paper.
    assert {title.rpartition(" (")[0] for title in others} <= columns | {"CV-Bench"}


@pytest.mark.parametrize(
    "row", [row for row in FULL if row.table == "image"], ids=lambda row: f"{row.model} {row.entries}"
)
def test_the_page_averages_14_columns_with_mme_over_20(row):
    # Printed to one place: half a unit of it, and what binary fractions lose.
    assert row.page_average == pytest.approx(row.average, abs=0.05 + 1e-9)
    # The paper's column is no plain mean: it lies 6 to 11 points higher.
    assert 6 < row.paper_average - row.average < 11


def test_rows_with_gaps_are_quoted_from_others_and_have_no_average():
    gaps = [row for row in published() if row.average is None]
    assert [row.source for row in gaps] == ["literature"] * 6
    assert all(row.paper_average is row.page_average is None for row in gaps)
    assert all(row.source == "paper" for row in FULL)


def dense_of(row):
    """The row of the same model and table that nothing reduces."""
    return next(one for one in FULL if (one.table, one.model, one.method) == (row.table, row.model, None))


@pytest.mark.parametrize(
    "row", [row for row in FULL if row.method], ids=lambda row: f"{row.model} {row.method} {row.entries}"
)
def test_changes_are_those_of_the_averages(row):
    if row.table == "video":
        assert row.change == pytest.approx(row.average - dense_of(row).average, abs=0.05 + 1e-9)
    else:
        assert row.change == pytest.approx(row.paper_average - dense_of(row).paper_average, abs=0.05)


def test_the_two_averages_differ_in_sign_where_the_docs_say():
    differing = [
        row.entries
        for row in FULL
        if row.table == "image"
        and row.method
        and row.change * (row.page_average - dense_of(row).page_average) < 0
    ]
    assert differing == ["72+4", "36+4"]
