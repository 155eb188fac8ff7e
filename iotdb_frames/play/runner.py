"""`Runner`: a source streamed in the background, at its own pace.

Every window is due at a fixed stream time, and stream time is tied to the wall clock (`Pace`). So
the rate does not drift, however long sending takes: a shorter wait follows a late window. A window
is made before it is due, and sent when its last row is due.

    ready → running ⇄ paused → stopping → stopped | finished | failed

Rules: one thread makes and sends; `send` is never called twice at once; all state is behind one
condition, which is never held while making or sending.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, RLock, Thread, current_thread
from types import TracebackType
from typing import Any, Self, Unpack

import pandas as pd

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.display.views import load_view
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import StreamArgs, StreamOptions
from iotdb_frames.play.pace import Delay, Pace, checked_limit_s, checked_speed
from iotdb_frames.play.parts import Part, Place
from iotdb_frames.play.playable import Playable, State, StreamStats
from iotdb_frames.play.sent import Listener, Sent

_log = logging.getLogger(__name__)
_OVER: tuple[State, ...] = ("stopped", "finished", "failed")
_DRAIN_S = 1.0  # how long an interrupt waits for what is under way
_TICK_S = 0.2  # a wait without a limit would block Ctrl-C on some platforms


class Runner:
    """A source, streamed into `send` in the background.

    Parameters
    ----------
    source : a `SensorSource` or a `Replay`
    send : called with each window that has rows, one at a time, in the runner's thread
    finish : called once after the last window was sent, e.g. a flush; not after a failure
    clock : what the source's time is tied to
    options : see `StreamOptions`

    Raises
    ------
    OptionsError : a speed or duration not above 0, a window of no rows or longer than the duration.
    """

    def __init__(
        self,
        source: Playable,
        send: Callable[[pd.DataFrame], Any],
        *,
        finish: Callable[[], Any] | None = None,
        clock: Clock = CLOCK,
        **options: Unpack[StreamArgs],
    ) -> None:
        asked = StreamOptions(**options)
        self._finish = finish
        self._clock = clock
        self._now = source.starts_now if asked.now is None else asked.now
        self._window = source.default_window if asked.window is None else asked.window
        source.next_window(0, self._window)  # checks it
        self._pace = Pace(speed=source.speed if asked.speed is None else asked.speed)
        self._place = Place(source, until_s=checked_limit_s(asked.duration, "duration"))
        if asked.window is not None and not self._place.holds(asked.window):
            raise OptionsError(
                f"window={self._window!r} is longer than duration={asked.duration!r}"
            )
        self._changed = Condition()
        self._changing = RLock()  # one change after the other; making a source may take long
        self._state: State = "ready"
        self._thread: Thread | None = None
        self._error: BaseException | None = None
        self._drain = True
        self._sent_s = 0.0  # the stream time up to which rows were sent
        self._next_source: Playable | None = None
        self._leaps_from_s: float | None = None  # rows before it are sent before a leap in time
        self._version = 0  # counts changes: a window made before a change is made again
        self._delay = Delay(self._pace)
        self._sent = Sent(send, clock=clock)

    # --- what it is ---

    @property
    def source(self) -> Playable:
        """What is streamed now."""
        return self._place.source

    @property
    def receiver(self) -> Any:
        """The object that the windows go to, e.g. a sink; None if it is a function."""
        return getattr(self._sent.send, "__self__", None)

    @property
    def pace(self) -> tuple[Any, float]:
        """Window and speed."""
        return self._window, self._pace.speed

    @property
    def state(self) -> State:
        """The state of the stream."""
        return self._state

    @property
    def error(self) -> BaseException | None:
        """The error that ended the stream, if it failed."""
        return self._error

    @property
    def stats(self) -> StreamStats:
        """Counters of this moment."""
        with self._changed:
            now = self._clock.now()
            elapsed = self._pace.ran_at(now)
            return StreamStats(
                state=self._state,
                elapsed_s=elapsed,
                stream_s=self._sent_s,
                rows_per_s=self._sent.n_rows / elapsed if elapsed else 0.0,
                error=self._error,
                **self._delay.counters(now),
                **self._sent.counters(),
            )

    def ledger(self) -> pd.DataFrame:
        """Which fault hit which of the rows that were acknowledged; as of `SensorSource.ledger`.

        It holds over all changes and pauses; `fault_number` counts the faults of the source that
        was streamed then. Rows whose ticket is not done yet are not in it, nor are
        rows that were refused (into a sink: windows with refused rows).
        """
        ledger = self._sent.ledger()
        return self.source.ledger_of(0, 0) if ledger is None else ledger

    def __repr__(self) -> str:
        if self._state == "ready":
            return f"{type(self).__name__}(ready; start() or run() it)"
        return f"{type(self).__name__}({self.stats})"

    def _repr_html_(self) -> str:
        return self.stats.card().html()

    # --- what it does ---

    def start(self) -> Self:
        """Start in the background; a stream can be started once.

        Raises
        ------
        OptionsError : it was started before.
        """
        with self._changed:
            if self._state != "ready":
                raise OptionsError(f"this stream is {self._state}", hint="make a new one")
            if self._now:
                self._place.source = self.source.starting_at(pd.Timestamp(self._clock.time_ns()))
            self._state = "running"
            self._pace.start(self._clock.now())
            self._thread = Thread(target=self._run, name="iotdb-frames-stream", daemon=True)
            self._thread.start()
        return self

    def pause(self) -> None:
        """Stop the stream's time; a window being sent is completed. No effect unless running."""
        with self._changed:
            if self._state == "running":
                self._pace.hold(self._clock.now())
                self._state = "paused"
                self._changed.notify_all()

    def resume(self, *, skip: bool | None = None) -> None:
        """Go on where the stream was paused. No effect unless paused.

        Parameters
        ----------
        skip : leave out the rows of the pause, so that times match the clock again; None: if the
            stream began so (`now`)
        """
        with self._changed:
            if self._state != "paused":
                return
            now = self._clock.now()
            if self._now if skip is None else skip:
                held_s = self._pace.stream_at(now)
                if self._leaps_from_s is None:
                    self._leaps_from_s = held_s
                self._sent_s = max(self._sent_s, self._pace.skip(now))
                self._version += 1
            self._pace.start(now)
            self._state = "running"
            self._changed.notify_all()

    def stop(self, *, drain: bool = True, timeout_s: float | None = None) -> StreamStats:
        """End the stream and wait for it.

        Parameters
        ----------
        drain : send the rows due by now and those still under way; False: only complete the
            current send, also if an earlier `stop` is still draining
        timeout_s : wait no longer than this; the stream then ends in the background

        Raises
        ------
        TimeoutError : it has not ended within `timeout_s`.
        What `send` raised, if the stream failed.
        """
        with self._changed:
            if self._state == "ready":
                self._state = "stopped"
            elif self._state not in _OVER:
                self._pace.hold(self._clock.now())
                self._drain = drain and (self._drain or self._state != "stopping")
                self._state = "stopping"
                self._changed.notify_all()
        return self.wait(timeout_s=timeout_s)

    cancel = stop
    """`stop`, as the IoTDB Flink connector calls it."""

    def wait(self, *, timeout_s: float | None = None) -> StreamStats:
        """Wait for the end of the stream.

        Parameters
        ----------
        timeout_s : wait no longer than this; None: as long as it takes

        Raises
        ------
        TimeoutError : it has not ended within `timeout_s`.
        What `send` raised, if the stream failed.
        """
        if current_thread() is self._thread:
            return self.stats  # called by `send` itself, which cannot wait for its own end
        if not self._wait(math.inf if timeout_s is None else timeout_s):
            raise TimeoutError(f"the stream is {self._state} after {timeout_s} s")
        if self._error is not None:
            raise self._error
        return self.stats

    def run(self, seconds: Any = None) -> StreamStats:
        """Stream for `seconds` (a number or a span) by the wall clock, or to the end, and wait.

        On Ctrl-C the stream is stopped, and drained for a second; then, or on another Ctrl-C, what
        is under way is given up, and KeyboardInterrupt goes on.
        """
        limit_s = checked_limit_s(seconds, "seconds")
        try:
            if self._state == "ready":
                self.start()
            return self.wait() if self._wait(limit_s) else self.stop()
        except KeyboardInterrupt as exc:
            self.give_up()
            if self._error is not None:
                exc.add_note(f"and the stream failed: {self._error!r}")
            raise

    def give_up(self) -> None:
        """End the stream within seconds, whatever the receiver does; for an interrupt.

        It is stopped and drained for a second; then, or on Ctrl-C, what is under way is given up.
        What went wrong is in `error`.
        """
        try:
            self.stop(timeout_s=_DRAIN_S)
        except (TimeoutError, KeyboardInterrupt):
            with suppress(Exception):
                self.stop(drain=False, timeout_s=0)
        except Exception:
            _log.debug("a stream that failed was ended", exc_info=True)
        if self._thread is not None and self._thread is not current_thread():
            self._thread.join(_DRAIN_S)

    def change(self, *, window: Any = None, speed: float | None = None, **source: Any) -> None:
        """Change parameters of a running stream, from its next window on.

        Parameters
        ----------
        window, speed : as of the runner
        **source : another `source`, or parameters of this one (`SensorSource.replace`):
            ``rate_hz=``, ``faults=``, ``sensors=``. Rows under way with the old ones are sent
            at once.

        Raises
        ------
        OptionsError : an invalid parameter; then nothing is changed.
        """
        if self._state in _OVER:
            raise OptionsError(f"this stream is {self._state}: nothing is left to change")
        speed = None if speed is None else checked_speed(speed)
        with self._changing:
            new: Any = None
            if source:
                new = source.pop("source", self._next_source or self.source)
                if source and not hasattr(new, "replace"):
                    raise OptionsError(f"a {type(new).__name__} has no parameters to change")
                new = new.replace(**source) if source else new
            asked = self._window if window is None else window
            (new or self._next_source or self.source).next_window(0, asked)  # checks it
            with self._changed:
                if speed is not None:
                    self._pace.set_speed(self._clock.now(), speed)
                self._window = asked
                if new is not None and self._state == "ready":
                    self._place.source = new
                elif new is not None:
                    self._next_source = new
                self._version += 1
                self._changed.notify_all()

    def panel(self, *, capacity: int = 10_000) -> Any:
        """A live panel of it (extra ``[notebook]``); its chart keeps `capacity` rows."""
        return load_view("panel")(self, capacity=capacity)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every window that was handed over, until the result is called.

        It is called in the stream's thread, between two windows, and should return quickly. While
        someone listens, the log has no warning that the receiver does not keep up: see `stats`.
        """
        return self._sent.listen(listener)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except BaseException as exc:
            if error is None:
                raise
            error.add_note(f"and the stream failed: {exc!r}")

    # --- the thread ---

    def _run(self) -> None:
        try:
            is_over = self._stream()
            if not is_over:
                self._send_up_to(self._pace.stream_at(self._clock.now()))
                if self._drain:
                    self._sent.hand_over(self._place.late())
            if self._finish is not None:
                self._finish()
            self._end("finished" if is_over else "stopped")
        except BaseException as exc:
            self._error = exc
            self._end("failed")
            _log.error("the stream failed: %r", exc)

    def _stream(self) -> bool:
        """Send window by window; True where the source or the duration is over."""
        while True:
            self._switch()
            with self._changed:
                if self._state == "stopping":
                    return False
                version, window = self._version, self._window
            following = self._place.following(window)
            if following is None:
                self._sent.hand_over(self._place.late())
                return True
            part, due_s = following
            with self._changed:
                self._delay.expect(due_s, since_s=self._sent_s)
            frame = part.rows()
            part.source.prepare(part.low, part.end)
            if self._wait_until(due_s, version):
                self._send_window(part, frame, due_s)

    def _switch(self) -> None:
        """Take over another source, or a leap in time, between two windows."""
        with self._changed:
            new, self._next_source = self._next_source, None
            leaps_from_s, self._leaps_from_s = self._leaps_from_s, None
            if new is None and leaps_from_s is None:
                return
            self._delay.due_s = None  # what is sent at once is never late
            sent_s = self._sent_s
        if leaps_from_s is not None:
            self._send_up_to(leaps_from_s)
        self._sent.hand_over(self._place.late())
        with self._changed:
            self._place.go_on_with(new or self.source, at_s=sent_s)

    def _send_up_to(self, until_s: float) -> None:
        """Send the rows before a stream time at once; after a stop only while it drains."""
        while self._drain:
            following = self._place.following(self._window, until_s=until_s)
            if following is None:
                return
            part, due_s = following
            self._send_window(part, part.rows(), due_s)

    def _wait_until(self, due_s: float, version: int) -> bool:
        """Wait for a stream time; False: something changed that the window may depend on."""
        with self._changed:
            while True:
                if self._state == "stopping" or self._version != version:
                    return False
                if self._state == "paused":
                    self._clock.wait(self._changed)
                    continue
                wait_s = self._pace.wait_s(self._clock.now(), due_s)
                if wait_s <= 0:
                    return True
                self._clock.wait(self._changed, wait_s)

    def _send_window(self, part: Part, frame: pd.DataFrame, due_s: float) -> None:
        self._sent.hand_over(part, frame)
        with self._changed:
            self._place.position = part.end
            self._sent_s = max(self._sent_s, due_s)  # a leap may have been requested meanwhile
            self._pace.reach(due_s)
            news = self._delay.note(self._clock.now())
        if news is not None:
            _log.log(logging.INFO if self._sent.has_listeners else logging.WARNING, news, self)

    def _end(self, state: State) -> None:
        with self._changed:
            self._pace.hold(self._clock.now())
            self._delay.due_s = None
            self._state = state
            self._changed.notify_all()

    def _wait(self, timeout_s: float) -> bool:
        until = self._clock.now() + timeout_s
        with self._changed:
            while self._state not in _OVER:
                if self._state == "ready":
                    raise OptionsError("this stream was never started", hint="start(), or run(60)")
                left_s = until - self._clock.now()
                if left_s <= 0:
                    return False
                self._clock.wait(self._changed, min(left_s, _TICK_S))
        return True
