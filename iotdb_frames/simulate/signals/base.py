"""What a signal is, and how signals are put together.

A signal is a frozen description; `evaluate` gives its values on one block of `BLOCK` rows. Values
depend on the seed and the row number only, never on the window: a signal with a memory hands its
state from block to block (`Block.carry`), and a block is always generated whole.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from iotdb_frames.errors import OptionsError, nearest
from iotdb_frames.simulate.clock import BLOCK, BlockTimes
from iotdb_frames.simulate.draws import DEVICE, EVERYWHERE, Draws, Path

Kind = Literal["float", "int", "bool", "str", "time"]
Values = npt.NDArray[Any]


def unknown_name(what: str, name: object, choices: Sequence[str]) -> OptionsError:
    """The error for a name that is none of `choices`, with the nearest of them."""
    return OptionsError(f"unknown {what} {name!r}", hint=nearest(name, choices))


class Block:
    """Where and when a part of an expression is evaluated, and its memory.

    Attributes
    ----------
    times : the block's ticks, seconds and times
    n_rows : rows to give, always BLOCK
    next_carry : what the signals leave for the block after this one
    """

    __slots__ = ("_carry", "_draws", "_path", "next_carry", "times")

    n_rows = BLOCK

    def __init__(
        self,
        times: BlockTimes,
        draws: Draws,
        carry: Mapping[Path, Any],
        *,
        next_carry: dict[Path, Any] | None = None,
        path: Path = (),
    ) -> None:
        self.times = times
        self.next_carry: dict[Path, Any] = {} if next_carry is None else next_carry
        self._draws = draws
        self._carry = carry
        self._path = path

    def inner(self, *names: Any) -> Block:
        """The same block for a part of the expression."""
        return self._at((*self._path, *names))

    def shared(self, scope: str, name: str) -> Block:
        """The same block for a part that other sensors have, too."""
        return self._at((scope, name))

    def _at(self, path: Path) -> Block:
        return Block(self.times, self._draws, self._carry, next_carry=self.next_carry, path=path)

    def generator(self, *names: Any) -> np.random.Generator:
        """The random stream of this part; good until the next call."""
        return self._draws.at(self.times.index, (*self._path, *names))

    def recall(self, signal: Signal, *, first: Any) -> Any:
        """What `signal` kept at the end of the block before; `first` in block 0."""
        return self._carry.get((*self._path, signal), first)

    def keep(self, signal: Signal, state: Any) -> None:
        """Keep `state` for the next block."""
        self.next_carry[(*self._path, signal)] = state


class Signal:
    """Base of all signals; combine them with ``+ - * /``, numbers and the methods below.

    Attributes
    ----------
    kind : what the values are: "float", "int", "bool", "str", or "time" (units since 1970)
    is_stateful : whether a block needs the blocks before it
    name : of the function of `signals` that makes it
    """

    kind: Kind = "float"
    is_stateful: bool = False
    name: str

    def __repr__(self) -> str:
        """The call that makes it; parameters that have their defaults are left out."""
        return described(self.name, **_changed(self))

    @abstractmethod
    def evaluate(self, block: Block) -> Values:
        """Values on one block, shape (n_rows,), not to be written into."""

    def __add__(self, other: Any) -> Signal:
        return _combine("+", self, other)

    def __radd__(self, other: Any) -> Signal:
        return _combine("+", other, self)

    def __sub__(self, other: Any) -> Signal:
        return _combine("-", self, other)

    def __rsub__(self, other: Any) -> Signal:
        return _combine("-", other, self)

    def __mul__(self, other: Any) -> Signal:
        return _combine("*", self, other)

    def __rmul__(self, other: Any) -> Signal:
        return _combine("*", other, self)

    def __truediv__(self, other: Any) -> Signal:
        return _combine("/", self, other)

    def __rtruediv__(self, other: Any) -> Signal:
        return _combine("/", other, self)

    def __neg__(self) -> Signal:
        return _combine("*", -1, self)

    def noise(self, *, std: float) -> Signal:
        """This signal with white noise of standard deviation `std` on it."""
        return self + Noise(std=std)

    def clip(self, *, low: float | None = None, high: float | None = None) -> Signal:
        """This signal cut off below `low` and above `high`."""
        if low is None and high is None:
            raise OptionsError("clip needs low= or high=")
        if low is not None and high is not None and not low < high:
            raise OptionsError(f"clip: low={low} must be below high={high}")
        return _Clip(_operand("clip", self), low, high)

    def round(self, *, digits: int = 0) -> Signal:
        """This signal rounded to `digits` decimals, half to even."""
        return _Round(_operand("round", self), digits)


@dataclass(frozen=True, repr=False)
class Constant(Signal):
    """The same value always."""

    value: bool | int | float | str

    def __post_init__(self) -> None:
        kinds: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}
        value = self.value.item() if isinstance(self.value, np.generic) else self.value
        if type(value) not in kinds:
            raise OptionsError(
                f"{value!r} is not a valid constant: a number, a bool or a string is"
            )
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "kind", kinds[type(value)])

    def evaluate(self, block: Block) -> Values:
        return np.full(block.n_rows, self.value, dtype=object if self.kind == "str" else None)

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, repr=False)
class Noise(Signal):
    """White noise: independent normal values of mean 0."""

    std: float = 1.0
    name = "white_noise"

    def __post_init__(self) -> None:
        positive(self.name, std=self.std)

    def evaluate(self, block: Block) -> Values:
        values = block.generator().standard_normal(block.n_rows)
        values *= self.std
        return values


_OPERATIONS: dict[str, Callable[[Values, Values], Values]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
}


@dataclass(frozen=True, repr=False)
class _Binary(Signal):
    symbol: str
    left: Signal
    right: Signal

    def __post_init__(self) -> None:
        is_whole = self.symbol != "/" and "float" not in (self.left.kind, self.right.kind)
        object.__setattr__(self, "kind", "int" if is_whole else "float")
        object.__setattr__(self, "is_stateful", self.left.is_stateful or self.right.is_stateful)

    def evaluate(self, block: Block) -> Values:
        left = _evaluate_operand(self.left, block.inner(0))
        right = _evaluate_operand(self.right, block.inner(1))
        return _OPERATIONS[self.symbol](left, right)

    def __repr__(self) -> str:
        sides = [
            f"({side!r})" if isinstance(side, _Binary) and self.symbol in "*/-" else repr(side)
            for side in (self.left, self.right)
        ]
        return f" {self.symbol} ".join(sides)


def _evaluate_operand(signal: Signal, block: Block) -> Values:
    if isinstance(signal, Constant):
        return np.asarray(signal.value)  # broadcast: no need for a block of it
    values = signal.evaluate(block)
    return values.astype(np.int64) if signal.kind == "bool" else values


@dataclass(frozen=True, repr=False)
class _Clip(Signal):
    child: Signal
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_stateful", self.child.is_stateful)

    def evaluate(self, block: Block) -> Values:
        return np.clip(self.child.evaluate(block.inner(0)).astype(np.float64), self.low, self.high)

    def __repr__(self) -> str:
        return f"{_in_brackets(self.child)}.{described('clip', low=self.low, high=self.high)}"


@dataclass(frozen=True, repr=False)
class _Round(Signal):
    child: Signal
    digits: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_stateful", self.child.is_stateful)

    def evaluate(self, block: Block) -> Values:
        return np.round(self.child.evaluate(block.inner(0)).astype(np.float64), self.digits)

    def __repr__(self) -> str:
        return f"{_in_brackets(self.child)}.round(digits={self.digits})"


@dataclass(frozen=True, repr=False)
class _Common(Signal):
    name: str
    child: Signal
    scope: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", self.child.kind)
        object.__setattr__(self, "is_stateful", self.child.is_stateful)

    def evaluate(self, block: Block) -> Values:
        return self.child.evaluate(block.shared(self.scope, self.name))

    def __repr__(self) -> str:
        everywhere = ", everywhere=True" if self.scope == EVERYWHERE else ""
        return f"common({self.name!r}, {self.child!r}{everywhere})"


def common(name: str, signal: Any, *, everywhere: bool = False) -> Signal:
    """A signal several sensors share, so that they are correlated.

    Parameters
    ----------
    name : which shared signal; wherever the same name and signal stand, the values are the same
    signal : the shared signal
    everywhere : shared by all devices of a fleet (weather), not only by the sensors of one
    """
    return _Common(name, as_signal(signal), EVERYWHERE if everywhere else DEVICE)


def as_signal(value: Any) -> Signal:
    """A signal from itself or a constant."""
    return value if isinstance(value, Signal) else Constant(value)


def positive(name: str, **values: float) -> None:
    """Refuse parameters that are not finite numbers above 0."""
    for parameter, value in values.items():
        if not _is_number(value) or not value > 0:
            raise OptionsError(f"{name}: {parameter}={value!r} must be more than 0")


def finite(name: str, **values: float) -> None:
    """Refuse parameters that are not finite numbers."""
    for parameter, value in values.items():
        if not _is_number(value):
            raise OptionsError(f"{name}: {parameter}={value!r} must be a finite number")


def _changed(signal: Any) -> dict[str, Any]:
    return {
        field.name: value
        for field in fields(signal)
        if field.name not in ("kind", "name")
        and (value := getattr(signal, field.name)) != field.default
    }


def described(name: str, **parameters: object) -> str:
    """The call that makes a signal, for its repr; parameters that are None are left out."""
    shown = [
        f"{parameter}={value:g}" if isinstance(value, float) else f"{parameter}={value!r}"
        for parameter, value in parameters.items()
        if value is not None
    ]
    return f"{name}({', '.join(shown)})"


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, (int, float, np.integer, np.floating))
    return is_real and not isinstance(value, bool) and math.isfinite(value)


def _operand(operation: str, value: Any) -> Signal:
    signal = as_signal(value)
    if signal.kind in ("str", "time"):
        raise OptionsError(f"{operation!r} needs numbers, and {signal!r} gives none")
    return signal


def _combine(symbol: str, left: Any, right: Any) -> Signal:
    one, other = _operand(symbol, left), _operand(symbol, right)
    if isinstance(one, Constant) and isinstance(other, Constant):
        return Constant(_OPERATIONS[symbol](np.asarray(one.value), np.asarray(other.value)).item())
    return _Binary(symbol, one, other)


def _in_brackets(signal: Signal) -> str:
    return f"({signal!r})" if isinstance(signal, _Binary) else repr(signal)
