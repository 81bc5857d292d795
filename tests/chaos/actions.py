"""What each kind of fault does when it begins and when it ends. Every end may come twice."""

import http.client
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.chaos.cluster import Cluster
from tests.chaos.schedule import CONTROL_PLANE, DISK, Fault


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something to do, `at` seconds of the round; `first` of a fault, or what ends it."""

    at: float
    fault: Fault
    first: bool
    act: Callable[[], None]


def steps(cluster: Cluster, fault: Fault) -> list[Step]:
    """Return what a fault does, in order; nothing where there is no disk that could be filled."""
    if fault.role == DISK and cluster.disk is None:
        return []
    begin, end = _ACTIONS[fault.kind]
    made = [Step(at=fault.at, fault=fault, first=True, act=lambda: begin(cluster, fault))]
    if fault.kind.endswith("_storm"):
        made += [
            Step(
                at=fault.at + fault.lasts * part / fault.number,
                fault=fault,
                first=False,
                act=lambda: begin(cluster, fault),
            )
            for part in range(1, fault.number)
        ]
    made.append(
        Step(
            at=fault.at + fault.lasts,
            fault=fault,
            first=False,
            act=lambda: end(cluster, fault),
        )
    )
    return made


def calm(cluster: Cluster) -> None:
    """End whatever is in force, start whatever is down, and publish the truth."""
    if cluster.disk is not None:
        cluster.disk.free()
    cluster.resume("worker")
    names = [f"pageserver-{number}" for number in range(cluster.topology.pageservers)]
    for target in (*names, CONTROL_PLANE, "daemon"):
        cluster.resume(target)
        cluster.revive(target)
    for name in (*names, CONTROL_PLANE):
        cluster.proxy.clear(name)
    for pageserver in cluster.pageservers:
        pageserver.admin.clear_faults()
    cluster.faults.clear()
    cluster.publish()


def _nothing(cluster: Cluster, fault: Fault) -> None:
    del cluster, fault


def _kill(cluster: Cluster, fault: Fault) -> None:
    cluster.kill(fault.target)


def _term(cluster: Cluster, fault: Fault) -> None:
    cluster.kill(fault.target, signal.SIGTERM)


def _revive(cluster: Cluster, fault: Fault) -> None:
    cluster.revive(fault.target)


def _stop(cluster: Cluster, fault: Fault) -> None:
    cluster.stop(fault.target)


def _resume(cluster: Cluster, fault: Fault) -> None:
    cluster.resume(fault.target)


def _network(cluster: Cluster, fault: Fault) -> None:
    half = fault.kind == "half"
    cluster.proxy.strike(
        fault.target,
        fault.kind,
        delay_ms=fault.number if fault.kind == "delay" else None,
        keep=fault.number if half else None,
        end=fault.what if half else None,
    )


def _network_back(cluster: Cluster, fault: Fault) -> None:
    cluster.proxy.clear(fault.target, fault.kind)


def _lie(cluster: Cluster, fault: Fault) -> None:
    if fault.target not in cluster.held:
        cluster.pageservers[_number(fault)].admin.set_fault(fault.what, count=fault.number)


def _refuse_login(cluster: Cluster, fault: Fault) -> None:
    """Refuse the next few logins, or all; the streams that are open live on."""
    if fault.target not in cluster.held:
        count = fault.number or None
        cluster.pageservers[_number(fault)].admin.set_fault("auth_fail", count=count)


def _no_lie(cluster: Cluster, fault: Fault) -> None:
    if fault.target not in cluster.held:
        cluster.pageservers[_number(fault)].admin.clear_faults()


def _nonsense(cluster: Cluster, fault: Fault) -> None:
    if fault.what.isdecimal():
        cluster.faults.answer(code=int(fault.what))
    elif fault.what == "garbage":
        cluster.faults.answer("<html>not what you asked for")
    else:
        cluster.faults.strike(fault.what, route="spec")


def _sense(cluster: Cluster, fault: Fault) -> None:
    del fault
    cluster.faults.clear()


def _fill_disk(cluster: Cluster, fault: Fault) -> None:
    del fault
    if cluster.disk is not None:
        cluster.disk.fill()


def _free_disk(cluster: Cluster, fault: Fault) -> None:
    del fault
    if cluster.disk is not None:
        cluster.disk.free()


def _reload(cluster: Cluster, fault: Fault) -> None:
    del fault
    cluster.postgres.reload()


def _refresh(cluster: Cluster, fault: Fault) -> None:
    """Ask once, and do not wait for long: the daemon may be down or stopped.

    As an operator. Who asks without a name is taken for Postgres, and only Postgres can say that
    its trouble is over.
    """
    del fault
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=0.05)
    with suppress(OSError, http.client.HTTPException):
        connection.request("POST", "/refresh_configuration", headers={"User-Agent": "chaos"})
        connection.getresponse().read()
    connection.close()


def _move(cluster: Cluster, fault: Fault) -> None:
    cluster.move(_number(fault), fault.to)


def _publish(cluster: Cluster, fault: Fault) -> None:
    del fault
    cluster.publish()


def _number(fault: Fault) -> int:
    return int(fault.target.partition("-")[2])


_ACTIONS: dict[str, tuple[Callable[[Cluster, Fault], None], Callable[[Cluster, Fault], None]]] = {
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
    "login_refused": (_refuse_login, _no_lie),
    "nonsense": (_nonsense, _sense),
    "disk_full": (_fill_disk, _free_disk),
    "reload_storm": (_reload, _nothing),
    "refresh_storm": (_refresh, _nothing),
    "publish_storm": (_publish, _nothing),
    "move": (_move, _publish),
}
