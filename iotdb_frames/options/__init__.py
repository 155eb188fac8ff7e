"""Options: frozen, keyword-only value objects, checked once, secrets masked in their repr."""

from iotdb_frames.options.connection import (
    DEFAULT_PORT,
    ConnectionOptions,
    Secret,
    default_url,
    hide_fields,
    hide_url,
    parse_url,
    zone_name,
)
from iotdb_frames.options.types import (
    NO_RETRY,
    CompressionType,
    RetryPolicy,
    TimeseriesOption,
    TSDataType,
    TSEncoding,
    as_enum,
    check_retry,
    check_whole,
    parse_bytes,
)
from iotdb_frames.options.write import (
    SchemaOption,
    WriteArgs,
    WriteOptions,
    show_options,
    write_options,
)

__all__ = [
    "DEFAULT_PORT",
    "NO_RETRY",
    "CompressionType",
    "ConnectionOptions",
    "RetryPolicy",
    "SchemaOption",
    "Secret",
    "TSDataType",
    "TSEncoding",
    "TimeseriesOption",
    "WriteArgs",
    "WriteOptions",
    "as_enum",
    "check_retry",
    "check_whole",
    "default_url",
    "hide_fields",
    "hide_url",
    "parse_bytes",
    "parse_url",
    "show_options",
    "write_options",
    "zone_name",
]
