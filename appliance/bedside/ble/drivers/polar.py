"""Polar's measurement data service: H10 and others that stream ECG over it.

Source: Polar BLE SDK documentation (github.com/polarofficial/polar-ble-sdk), "Polar Measurement Data specification".
"""

from __future__ import annotations

from bedside.ble import pmd
from bedside.ble.drivers.api import API, Device, Driver, EcgFrame, Stream
from bedside.core.errors import WearableError

LEAD_PREFIX = "ECG lead "
MV_PER_COUNT = 0.001  # microvolts


def _match(device: Device) -> bool:
    return device.has(pmd.DATA) and device.has(pmd.CONTROL_POINT)


async def _prepare(device: Device, running_hz: float | None) -> Stream:
    features = pmd.decode_features(await device.read(pmd.CONTROL_POINT))
    if pmd.Kind.ECG not in features.kinds:
        raise WearableError("the wearable has no ECG stream")
    await device.listen(pmd.CONTROL_POINT)
    offered = (await _settings(device)).get(pmd.Setting.SAMPLE_RATE, ())
    return Stream(rate_hz=_choose(offered, running_hz), mv_per_count=MV_PER_COUNT, lead=await _lead(device))


async def _settings(device: Device) -> pmd.Settings:
    return (await _command(device, pmd.Command(op=pmd.Op.GET_SETTINGS, kind=pmd.Kind.ECG))).settings


def _choose(offered: tuple[int, ...], running_hz: float | None) -> float:
    if running_hz is not None and running_hz in offered:
        return running_hz
    if not offered or running_hz is not None:
        wanted = "any rate" if running_hz is None else f"the {running_hz:g} Hz of this stream"
        raise WearableError(f"the wearable no longer offers {wanted}")
    return float(max(offered))


async def _start(device: Device, stream: Stream) -> None:
    resolution = (await _settings(device)).get(pmd.Setting.RESOLUTION)
    await device.listen(pmd.DATA)
    settings: pmd.Settings = {pmd.Setting.SAMPLE_RATE: (int(stream.rate_hz),)}
    if resolution:
        settings[pmd.Setting.RESOLUTION] = resolution[:1]
    start = pmd.Command(op=pmd.Op.START, kind=pmd.Kind.ECG, settings=settings)
    answer = await _command(device, start, accept=(pmd.Status.SUCCESS, pmd.Status.ALREADY_IN_STATE))
    if answer.status == pmd.Status.ALREADY_IN_STATE:  # it did not notice that our last link ended
        stop = pmd.Command(op=pmd.Op.STOP, kind=pmd.Kind.ECG)
        await _command(device, stop, accept=(pmd.Status.SUCCESS, pmd.Status.ALREADY_IN_STATE))
        await _command(device, start)


async def _stop(device: Device) -> None:
    await device.write(pmd.CONTROL_POINT, pmd.Command(op=pmd.Op.STOP, kind=pmd.Kind.ECG).encode())


def _decode(payload: bytes, _: Stream) -> EcgFrame:
    frame = pmd.decode_ecg_frame(payload)
    return EcgFrame(last_ns=frame.timestamp_ns_2000, counts=frame.uv)


async def _command(
    device: Device, command: pmd.Command, accept: tuple[pmd.Status, ...] = (pmd.Status.SUCCESS,)
) -> pmd.Response:
    """Send a control point command; its answer. Raises `WearableError` when it is refused."""
    await device.write(pmd.CONTROL_POINT, command.encode())
    while True:
        response = pmd.decode_response(await device.answer(pmd.CONTROL_POINT))
        if response.op == command.op and response.kind == command.kind:
            break
    if response.status not in accept:
        raise WearableError(f"the wearable refused to {_DOING[pmd.Op(command.op)]}: {response.status_name}")
    return response


_DOING = {
    pmd.Op.GET_SETTINGS: "tell its ECG settings",
    pmd.Op.START: "start its ECG",
    pmd.Op.STOP: "stop its ECG",
}


async def _lead(device: Device) -> str | None:
    """The lead's name as the wearable describes it."""
    text = await device.describe(pmd.DATA)
    if text is None or not text.startswith(LEAD_PREFIX):
        return None
    lead = text.removeprefix(LEAD_PREFIX).strip()
    return lead if lead.isprintable() and 0 < len(lead) <= 16 else None


DRIVER = Driver(
    api=API,
    name="Polar PMD",
    data=pmd.DATA,
    late_s=3.0,
    match=_match,
    prepare=_prepare,
    start=_start,
    stop=_stop,
    decode=_decode,
    sources=("Polar BLE SDK documentation: Polar Measurement Data specification",),
)
