"""Kernels (level 0): arrays in, arrays out, each beside the naive function that it must equal."""

from gazekit.kernels import naive, native, triton

__all__ = ["naive", "native", "triton"]
