"""A comm whose other end is a list."""

from __future__ import annotations

from typing import Any

from comm.base_comm import BaseComm


class NotingComm(BaseComm):  # type: ignore[misc]
    """A comm whose other end is a list."""

    def __init__(self, notes: Notes, **options: Any) -> None:
        self._notes = notes
        super().__init__(**options)

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any
    ) -> None:
        if msg_type == "comm_open":
            self._notes.open[self.comm_id] = self
        if msg_type == "comm_close":
            self._notes.open.pop(self.comm_id, None)
        self._notes.sent.append((self.comm_id, msg_type, data or {}, buffers or []))


class Notes:
    """What widgets sent.

    open : comms that were not closed
    sent : (comm, type, data, buffers) of every message
    """

    def __init__(self) -> None:
        self.open: dict[str, NotingComm] = {}
        self.sent: list[tuple[str, str, dict[str, Any], list[Any]]] = []

    def custom(self, widget: Any, kind: str) -> list[tuple[dict[str, Any], list[Any]]]:
        """The custom messages of a kind that a widget sent."""
        found = []
        for comm_id, _, data, buffers in list(self.sent):
            content = data.get("content") or {}
            is_custom = comm_id == widget.comm.comm_id and data.get("method") == "custom"
            if is_custom and content.get("kind") == kind:
                found.append((content, buffers))
        return found

    def say(self, widget: Any, content: dict[str, Any]) -> None:
        """A message from the browser."""
        widget.comm.handle_msg(
            {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}
        )
