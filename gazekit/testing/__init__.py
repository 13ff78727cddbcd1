"""What users check their own parts with: hypothesis strategies, and the laws of every room as callables."""

from gazekit.testing import laws, oracle, strategies
from gazekit.testing.cases import AttentionCase, PoolingCase, RoutingCase
from gazekit.testing.laws.store import check_store
from gazekit.testing.prompts import Clip, Grid, Prompts, Runs, Scatter, Text, divide, sketch

__all__ = [
    "AttentionCase",
    "Clip",
    "Grid",
    "PoolingCase",
    "Prompts",
    "RoutingCase",
    "Runs",
    "Scatter",
    "Text",
    "check_store",
    "divide",
    "laws",
    "oracle",
    "sketch",
    "strategies",
]
