"""Which fault hits which sensor, and whether the parts of a source fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from iotdb_frames.errors import OptionsError
from iotdb_frames.simulate.assembly import DeviceStream
from iotdb_frames.simulate.clock import BLOCK, SampleClock
from iotdb_frames.simulate.delivery import Delivery
from iotdb_frames.simulate.draws import Draws
from iotdb_frames.simulate.faults import KINDS, Fault, FaultPlan, check_overlaps
from iotdb_frames.simulate.readings import PlannedFault, Readings, SensorStream
from iotdb_frames.simulate.sensors import Device, Sensor
from iotdb_frames.simulate.signals.base import unknown_name

_ORDER = {kind: place for place, kind in enumerate(KINDS)}


def columns_of(devices: Sequence[Device]) -> tuple[Sensor, ...]:
    """One sensor per column, in order of first occurrence.

    Raises
    ------
    OptionsError : no device, two of one name, one column of two types.
    """
    if not devices:
        raise OptionsError("a fleet needs at least one device")
    if len({device.name for device in devices}) < len(devices):
        raise OptionsError("two devices have the same name")
    columns: dict[str, Sensor] = {}
    for device in devices:
        for sensor in device.sensors:
            other = columns.setdefault(sensor.name, sensor)
            if other.data_type != sensor.data_type:
                raise OptionsError(
                    f"sensor {sensor.name!r} is {other.data_type.name} on one device and "
                    f"{sensor.data_type.name} on {device.name!r}"
                )
    return tuple(columns.values())


def tags_of(devices: Sequence[Device], sensors: Sequence[Sensor]) -> tuple[str, ...]:
    """The tag columns of a fleet; none in the tree model.

    Raises
    ------
    OptionsError : devices with different tags, or with equal values; a reserved name.
    """
    tags = tuple(devices[0].tags)
    for device in devices:
        if tuple(device.tags) != tags:
            raise OptionsError(f"device {device.name!r} has other tags than {devices[0].name!r}")
    if tags and len({tuple(device.tags.values()) for device in devices}) < len(devices):
        raise OptionsError("two devices have the same tags: their rows could not be distinguished")
    taken = {sensor.name for sensor in sensors} & {*(tags or ("device",))}
    if taken and (tags or devices[0].name):
        raise OptionsError(f"a sensor and a key column are both called {taken.pop()!r}")
    return tags


def check_targets(
    faults: Sequence[Fault], *, devices: Sequence[Device], sensors: Sequence[Sensor]
) -> None:
    """Refuse faults of unknown sensors and devices, or of those that they cannot hit.

    Raises
    ------
    OptionsError : with the nearest names.
    """
    by_name = {sensor.name: sensor for sensor in sensors}
    device_names = [device.name for device in devices]
    for fault in faults:
        for name in fault.sensors or ():
            if name not in by_name:
                raise unknown_name("sensor", name, list(by_name))
            if not _suits(fault, by_name[name]):
                raise OptionsError(f"{fault.kind} shifts numbers; {by_name[name]!r} gives none")
        for name in fault.devices or ():
            if name not in device_names:
                raise unknown_name("device", name, device_names)
        if not fault.traits.is_delivery and not any(_suits(fault, s) for s in sensors):
            raise OptionsError(f"{fault.kind} shifts numbers, and no sensor gives any")


def wire(
    device: Device, plans: Sequence[FaultPlan], *, clock: SampleClock, seed: int
) -> DeviceStream:
    """A device with its share of the faults, ready to give rows.

    Raises
    ------
    OptionsError : faults that overlap so that one hides the other.
    """
    nth: Counter[str] = Counter()
    deliveries: list[PlannedFault] = []
    of_sensor: dict[str, list[PlannedFault]] = {sensor.name: [] for sensor in device.sensors}
    for number, plan in enumerate(plans):
        # Streams are named by kind and count, so that other faults can be added or removed.
        address = (device.name, "fault", plan.kind, nth[plan.kind])
        nth[plan.kind] += 1
        if plan.fault.devices is not None and device.name not in plan.fault.devices:
            continue
        if plan.fault.traits.is_delivery:
            deliveries.append(PlannedFault(number, plan, Draws(seed, *address)))
            continue
        for sensor in device.sensors:
            if _suits(plan.fault, sensor):
                draws = Draws(seed, *address, sensor.name)
                of_sensor[sensor.name].append(PlannedFault(number, plan, draws))
    where = f"device {device.name!r}" if device.name else "the source"
    delivery = Delivery(clock, _in_order(deliveries, where=where))
    # Late rows belong to past blocks: keep those that one window can contain.
    n_recent = 1 if delivery.is_plain else min(2 + delivery.max_late // BLOCK, 12)
    streams = {
        sensor.name: SensorStream(
            Readings(sensor, device=device.name, clock=clock, seed=seed),
            _in_order(of_sensor[sensor.name], where=f"sensor {sensor.name!r}"),
            n_recent=n_recent,
        )
        for sensor in device.sensors
    }
    return DeviceStream(device, streams, delivery)


def adopt_readings(streams: Sequence[DeviceStream], earlier: Sequence[DeviceStream]) -> None:
    """Have unchanged sensors go on from the states already computed.

    Only for streams on one clock and seed.
    """
    before = {stream.device.name: stream.sensors for stream in earlier}
    for stream in streams:
        for name, sensor in stream.sensors.items():
            twin = before.get(stream.device.name, {}).get(name)
            if twin is not None and twin.sensor == sensor.sensor:
                sensor.readings = twin.readings


def _in_order(faults: list[PlannedFault], *, where: str) -> list[PlannedFault]:
    check_overlaps([fault.plan for fault in faults], where=where)
    return sorted(faults, key=lambda fault: _ORDER[fault.plan.kind])


def _suits(fault: Fault, sensor: Sensor) -> bool:
    is_meant = fault.sensors is None or sensor.name in fault.sensors
    return is_meant and (sensor.is_numeric or not fault.traits.is_numeric)
