"""What each kind of fault does when it begins and when it ends. Every end may come twice."""

import http.client
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.chaos.schedule import CONTROL_PLANE, DISK, Fault
from tests.chaos.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something to do, `at` seconds of the round; `first` of a fault, or what ends it."""

    at: float
    fault: Fault
    first: bool
    act: Callable[[], None]


def steps(stage: Stage, fault: Fault) -> list[Step]:
    """Return what a fault does, in order; nothing where there is no disk that could be filled."""
    if fault.role == DISK and stage.disk is None:
        return []
    begin, end = _ACTIONS[fault.kind]
    made = [Step(at=fault.at, fault=fault, first=True, act=lambda: begin(stage, fault))]
    if fault.kind.endswith("_storm"):
        made += [
            Step(
                at=fault.at + fault.lasts * part / fault.number,
                fault=fault,
                first=False,
                act=lambda: begin(stage, fault),
            )
            for part in range(1, fault.number)
        ]
    made.append(
        Step(
            at=fault.at + fault.lasts,
            fault=fault,
            first=False,
            act=lambda: end(stage, fault),
        )
    )
    return made


def calm(stage: Stage) -> None:
    """End whatever is in force, start whatever is down, and publish the truth."""
    if stage.disk is not None:
        stage.disk.free()
    stage.resume("worker")
    names = [f"pageserver-{number}" for number in range(stage.cast.pageservers)]
    for target in (*names, CONTROL_PLANE, "daemon"):
        stage.resume(target)
        stage.revive(target)
    for name in (*names, CONTROL_PLANE):
        stage.proxy.clear(name)
    for pageserver in stage.pageservers:
        pageserver.admin.clear_faults()
    stage.control_plane.admin.clear_faults()
    stage.publish()


def _nothing(stage: Stage, fault: Fault) -> None:
    del stage, fault


def _kill(stage: Stage, fault: Fault) -> None:
    stage.kill(fault.target)


def _term(stage: Stage, fault: Fault) -> None:
    stage.kill(fault.target, signal.SIGTERM)


def _revive(stage: Stage, fault: Fault) -> None:
    stage.revive(fault.target)


def _stop(stage: Stage, fault: Fault) -> None:
    stage.stop(fault.target)


def _resume(stage: Stage, fault: Fault) -> None:
    stage.resume(fault.target)


def _network(stage: Stage, fault: Fault) -> None:
    half = fault.kind == "half"
    stage.proxy.strike(
        fault.target,
        fault.kind,
        delay_ms=fault.number if fault.kind == "delay" else None,
        keep=fault.number if half else None,
        end=fault.what if half else None,
    )


def _network_back(stage: Stage, fault: Fault) -> None:
    stage.proxy.clear(fault.target, fault.kind)


def _lie(stage: Stage, fault: Fault) -> None:
    if fault.target not in stage.held:
        stage.pageservers[_number(fault)].admin.set_fault(fault.what, count=fault.number)


def _no_lie(stage: Stage, fault: Fault) -> None:
    if fault.target not in stage.held:
        stage.pageservers[_number(fault)].admin.clear_faults()


def _nonsense(stage: Stage, fault: Fault) -> None:
    if CONTROL_PLANE not in stage.held:
        stage.control_plane.admin.set_fault(fault.what)


def _sense(stage: Stage, fault: Fault) -> None:
    del fault
    if CONTROL_PLANE not in stage.held:
        stage.control_plane.admin.clear_faults()


def _fill_disk(stage: Stage, fault: Fault) -> None:
    del fault
    if stage.disk is not None:
        stage.disk.fill()


def _free_disk(stage: Stage, fault: Fault) -> None:
    del fault
    if stage.disk is not None:
        stage.disk.free()


def _reload(stage: Stage, fault: Fault) -> None:
    del fault
    stage.postgres.reload()


def _refresh(stage: Stage, fault: Fault) -> None:
    """Ask once, and do not wait for long: the daemon may be down or stopped.

    As an operator. Who asks without a name is taken for Postgres, and only Postgres can say that
    its trouble is over.
    """
    del fault
    connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=0.05)
    with suppress(OSError, http.client.HTTPException):
        connection.request("POST", "/refresh_configuration", headers={"User-Agent": "chaos"})
        connection.getresponse().read()
    connection.close()


def _move(stage: Stage, fault: Fault) -> None:
    stage.move(_number(fault), fault.to)


def _publish(stage: Stage, fault: Fault) -> None:
    del fault
    stage.publish()


def _number(fault: Fault) -> int:
    return int(fault.target.partition("-")[2])


_ACTIONS: dict[str, tuple[Callable[[Stage, Fault], None], Callable[[Stage, Fault], None]]] = {
    "kill": (_kill, _revive),
    "term": (_term, _revive),
    "stop": (_stop, _resume),
    "reset": (_network, _nothing),
    "half_open": (_network, _nothing),
    "refuse": (_network, _network_back),
    "blackhole": (_network, _network_back),
    "delay": (_network, _network_back),
    "half": (_network, _network_back),
    "lie": (_lie, _no_lie),
    "nonsense": (_nonsense, _sense),
    "disk_full": (_fill_disk, _free_disk),
    "reload_storm": (_reload, _nothing),
    "refresh_storm": (_refresh, _nothing),
    "move": (_move, _publish),
}
