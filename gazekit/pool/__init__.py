"""What a region looks like from afar, and how well it matches a query."""

from gazekit.pool.attention import LearnedAttentionPooler
from gazekit.pool.compression import CompressionPooler
from gazekit.pool.gate import LinearGatePooler
from gazekit.pool.indexer import IndexerPooler
from gazekit.pool.lowrank import LowRankPooler
from gazekit.pool.max import MaxPooler
from gazekit.pool.mean import MeanPooler
from gazekit.pool.minmax import MinMaxPooler
from gazekit.pool.oracle import OraclePooler
from gazekit.pool.probe import ProbePooler
from gazekit.pool.summary import SummaryPooler
from gazekit.pool.unrotated import UnrotatedMeanPooler

__all__ = [
    "CompressionPooler", "IndexerPooler", "LearnedAttentionPooler", "LinearGatePooler", "LowRankPooler",
    "MaxPooler", "MeanPooler", "MinMaxPooler", "OraclePooler", "ProbePooler", "SummaryPooler",
    "UnrotatedMeanPooler",
]  # fmt: skip
