"""Video files to frames, by time stamps."""

from gazekit.data.video.pyav import PyAVReader
from gazekit.data.video.torchcodec import TorchcodecReader

__all__ = ["PyAVReader", "TorchcodecReader"]
