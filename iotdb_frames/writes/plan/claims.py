"""What a frame that was read says of where it came from, taken up when it is written.

`iotdb_frames.read` leaves it in ``df.attrs["iotdb"]``: which column names the device, which are
tags or attributes, and the types the columns had. An option of the write goes before it, and so
does what the server has. The frame may have been edited since: what no longer fits is let go, with
a line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa

from iotdb_frames.codec.names import Target
from iotdb_frames.codec.types import default_type
from iotdb_frames.options import TSDataType, WriteOptions

_log = logging.getLogger("iotdb_frames.write")
_TEXTS = {TSDataType.TEXT, TSDataType.STRING}


def claims(data: Any) -> Mapping[str, Any]:
    """What the frame says; nothing where it was not read, or says what nobody understands."""
    found = data.attrs.get("iotdb") if isinstance(data, pd.DataFrame) else None
    return found if isinstance(found, Mapping) else {}


def take_up(data: Any, target: Target, options: WriteOptions) -> WriteOptions:
    """The options, with the device column, tags and attributes that the frame was read with."""
    said = claims(data)
    if not said:
        return options
    named = {*options.tags, *options.attributes}

    def known(key: str, role: str) -> list[Hashable]:
        value = said.get(key)
        labels = value if isinstance(value, list) else [value]
        here = [label for label in labels if isinstance(label, str) and label in data.columns]
        for label in labels:
            if label is not None and label not in here:
                _log.info("%r was %s when the frame was read, and is gone", label, role)
        return [label for label in here if label not in named]

    if target.model == "table":
        tags = options.tags or known("tags", "a tag")
        attributes = options.attributes or known("attributes", "an attribute")
        return replace(options, tags=tags, attributes=attributes)
    if options.device is not None:
        return options
    device = known("device", "the device")
    return replace(options, device=device[0]) if device else options


def claimed_type(said: Mapping[str, Any], label: Hashable, kind: pa.DataType) -> TSDataType | None:
    """The type that a column of Arrow type `kind` was read with, where it may still be that.

    The dtype of the frame decides, but where it leaves a choice: TEXT or STRING, or no values.
    """
    types = said.get("types")
    name = str(types.get(label)) if isinstance(types, Mapping) else ""
    if name not in TSDataType.__members__:
        return None
    claimed, found = TSDataType[name], default_type(kind)
    if found is None or claimed == found or {claimed, found} == _TEXTS:
        return claimed
    _log.info("%r was %s when the frame was read, and is written as %s", label, name, found.name)
    return None
