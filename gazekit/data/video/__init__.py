"""Video files to frames, by time stamps."""

from gazekit.data.video.pyav import PyAVReader

__all__ = ["PyAVReader"]
