"""How a chunk is stored, and who reads it."""

from __future__ import annotations

from dataclasses import dataclass

from iotdb_frames.options import CompressionType, TSDataType, TSEncoding
from iotdb_frames.tsfile.decode import is_decoded
from iotdb_frames.tsfile.encode import CODECS


@dataclass(frozen=True)
class Storage:
    """How a chunk is stored."""

    data_type: TSDataType | None
    encoding: TSEncoding
    compression: CompressionType

    @property
    def is_readable(self) -> bool:
        """Whether its pages are decoded here."""
        return is_decoded(self.data_type, self.encoding) and self.compression in CODECS

    @property
    def is_official(self) -> bool:
        """Whether IoTDB's own package decodes it exactly, in an aligned device."""
        is_exact = self.data_type in (TSDataType.FLOAT, TSDataType.DOUBLE)
        return is_exact and self.encoding == TSEncoding.GORILLA and self.compression in CODECS
