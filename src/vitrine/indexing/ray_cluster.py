"""Ray found or started, and left as it was: the only place that knows how Ray is set.

Ray is asked to be quiet: no dashboard, no telemetry, nothing on standard output or error but what vitrine says.
"""

import atexit
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from vitrine import storage
from vitrine.errors import ClusterError, InputError
from vitrine.indexing import ray_worker

if TYPE_CHECKING:
    import ray

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # else a worker that was started here is nicer than who started it
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what Ray's own C++ says on standard error
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # only whether it warns of a change to come
}
_STORE = 500 * 2**20  # bytes of shared memory, of a Ray that is started here: pictures on their way need little
_KNOCK = 5.0  # seconds until somebody must take a connection,
_GREET = 60.0  # until that one must have been found to be a Ray of our version,
_LOOK = 60.0  # and until each machine has looked at a few pictures

_GREETING = """
import sys, logging
import ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
except BaseException as error:
    print(" ".join(str(error).split()))
    sys.exit(1)
"""


def keep_quiet() -> None:
    """To be called before Ray is imported: it asks the environment then."""
    os.environ.update(_QUIET)


@contextmanager
def connected(address: str | None, workers: int | None = None, to_the_end: bool = False) -> Iterator[None]:
    """With a Ray that runs already in this process, or at that address, or one that is started here with so many
    workers, one a core by default. It is stopped or left afterwards; with to_the_end, if nothing was raised, only when
    the process ends.

    Raises InputError for what is no address; ClusterError where nothing listens there, it is no Ray, or of another
    version than ours.
    """
    keep_quiet()
    import ray

    if ray.is_initialized():
        yield
        return
    if address is not None:
        _greet(address)
    hush()
    with ExitStack() as stack:
        stack.enter_context(_mute())  # to the end of its shutdown: until then it may hear of a machine that went away
        stack.callback(ray.shutdown)
        _start(address, workers)
        yield
        if to_the_end:
            atexit.register(stack.pop_all().close)


def _start(address: str | None, workers: int | None) -> None:
    import ray

    own: dict[str, Any] = {} if address else {"num_cpus": workers or storage.cores(), "object_store_memory": _STORE}
    try:
        with _deaf():
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                configure_logging=True,
                **own,
            )
    except Exception as error:  # Ray raises just that where it is too slow to start
        where = f"the Ray cluster at {address}" if address else "a Ray on this machine"
        raise ClusterError(f"Cannot use {where} ({line(error)}); see docs/scale.md.") from error


def _greet(address: str) -> None:
    """Raises InputError, ClusterError. Ray itself would wait for minutes where somebody else listens, and cannot be
    stopped meanwhile: so another process tries.
    """
    host, port = _parsed(address)
    wanted = "name the head of a Ray cluster as HOST:PORT, the port is 6379 if not set otherwise"
    try:
        socket.create_connection((host, port), _KNOCK).close()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ClusterError(f"Nothing answers at --ray-address {address} ({why}); {wanted}.") from error
    try:
        greeted = subprocess.run(
            [sys.executable, "-c", _GREETING, address], capture_output=True, text=True, timeout=_GREET, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"What answers at --ray-address {address} is not Ray; {wanted}.") from error
    if greeted.returncode:
        said = greeted.stdout.strip().rstrip(".")
        raise ClusterError(f"The Ray cluster at {address} cannot be used from here ({said}); {_advice(said)}.")


def _advice(said: str) -> str:
    if "ersion mismatch" in said:
        return "install the same versions of Ray and Python on all machines"
    return "run this on a machine of the cluster: `ray start --address=HOST:PORT` makes it one"


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(
            f"The --ray-address {address!r} is not HOST:PORT; name the head of a Ray cluster, as 10.0.0.1:6379, from a"
            " machine of that cluster."
        )
    return host.strip("[]"), int(port)


def cores() -> int:
    """How many workers of one core the cluster has room for. Raises ClusterError where it has none."""
    import ray

    found = int(ray.cluster_resources().get("CPU", 0))
    if found < 1:
        raise ClusterError("The Ray cluster has no processors for tasks; add a machine with `ray start --num-cpus`.")
    return found


def this_machine() -> dict[str, str]:
    """What a task is to be labelled with that must run here."""
    import ray

    return {"ray.io/node-id": ray.get_runtime_context().get_node_id()}


def check_sight(files: Sequence[str]) -> None:
    """Raises ClusterError where a machine of the cluster has no vitrine, another one, or does not see these files."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    sizes = [ray_worker.size_of(file) for file in files]
    look = ray.remote(num_cpus=0, max_retries=0)(ray_worker.sight)
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    asked = {
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            list(files)
        ): node["NodeManagerAddress"]
        for node in nodes
    }
    done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_LOOK)
    for ref, machine in asked.items():
        _check_one(ref if ref in done else None, machine, files, sizes)


def _check_one(
    ref: "ray.ObjectRef[ray_worker.Sight] | None", machine: str, files: Sequence[str], sizes: list[int | None]
) -> None:
    import ray

    import vitrine

    if ref is None:
        raise ClusterError(f"The machine {machine} of the Ray cluster has not answered for {_LOOK:.0f} s; look at it.")
    same = f"install vitrine {vitrine.__version__} with the extra [scale] on every machine"
    try:
        found = ray.get(ref)
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"The machine {machine} of the Ray cluster cannot run vitrine ({line(error)}); {same}."
        ) from error
    if found.version != vitrine.__version__:
        raise ClusterError(f"The machine {machine} of the Ray cluster has vitrine {found.version}; {same}.")
    for file, here, there in zip(files, sizes, found.sizes, strict=True):
        if here is not None and here != there:
            raise ClusterError(
                f"The machine {machine} of the Ray cluster does not see {file}; share it with all of them under"
                " the same path, or let the pictures travel from here with --ship."
            )


def line(error: BaseException) -> str:
    """The last line of what Ray says: above it is a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


@contextmanager
def _mute() -> Iterator[None]:
    """Ray prints on standard output, whatever it is told, that a machine went away: among our JSON."""
    from ray._private import worker

    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = True


@contextmanager
def _deaf() -> Iterator[None]:
    """What Ray's C++ part writes on standard error while it starts goes nowhere: it says there how quiet it is."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def hush() -> None:
    """Ray's loggers say nothing."""
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
