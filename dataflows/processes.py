"""One job as several processes on this machine: started together, stopped together."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

import msgspec

from dataflows.live import STOPPING, check_live
from dataflows.logs import get_log
from dataflows.settings import Settings
from dataflows.status import LAST_PORT, split_address
from schemas.errors import PeerLost, SettingsError
from schemas.problems import Problem

_LOOK_S = 0.1
#: How long the others may take to end by themselves when one has failed, and when one has stopped.
_AFTER_FAILURE_S, _AFTER_STOP_S = 5.0, 12.0
_PR_SET_PDEATHSIG = 1
_LOG = get_log("processes")


def run_processes(arguments: list[str], settings: Settings, count: int) -> None:
    """Run the same command line in `count` processes, each told which it is, until all have ended.

    SIGTERM and SIGINT go on to all of them. They answer `andon status` at consecutive ports from that of
    `observe.listen`.

    Args:
        arguments: the command line without `--processes`.
        settings: as that command line reads them.
        count: how many, at least 2.

    Raises:
        SettingsError: so many can't be run with these settings.
        PeerLost: one of them failed; the others end by themselves then.
    """
    addresses = free_addresses(count)
    engine = msgspec.structs.replace(settings.engine, processes=addresses)
    check_live(msgspec.structs.replace(settings, engine=engine), "settings")
    _check_ports(settings.observe.listen, count)
    with ExitStack() as stack:
        children = [
            stack.enter_context(_child(arguments, _environment(settings, addresses, number))) for number in range(count)
        ]
        stack.enter_context(_passing_on(children))
        _LOG.info("processes_started", f"{count} processes run", pids=[child.pid for child in children])
        _wait(children)
    failed = {number: child.returncode for number, child in enumerate(children) if child.returncode}
    if failed:
        told = ", ".join(f"process {number} ended with {_how(code)}" for number, code in failed.items())
        raise PeerLost(f"{told}: start the job again, it goes on from the last snapshot")


def free_addresses(count: int) -> list[str]:
    """Loopback addresses that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def _check_ports(listen: str, count: int) -> None:
    """Refuse an address behind whose port there are not enough for all processes.

    Raises:
        SettingsError: it is such a one.
    """
    last = LAST_PORT - count + 1
    if listen and split_address(listen)[1] > last:
        expected = f"must have a port up to {last}: {count} processes take it and those after it"
        raise SettingsError([Problem("settings", "observe.listen", f'"{listen}"', expected)])


def _environment(settings: Settings, addresses: list[str], number: int) -> dict[str, str]:
    told = {
        "ANDON_ENGINE_PROCESSES": msgspec.json.encode(addresses).decode(),
        "ANDON_ENGINE_PROCESS": str(number),
    }
    if settings.observe.listen:
        _, port = split_address(settings.observe.listen)
        host = settings.observe.listen.rpartition(":")[0]  # with the brackets of IPv6
        told["ANDON_OBSERVE_LISTEN"] = f"{host}:{port + number if port else 0}"
    return {**os.environ, **told}


@contextmanager
def _child(arguments: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", "from dataflows.cli import main; main()", *arguments]
    with subprocess.Popen(  # noqa: S603 - our own command line
        command,
        env=environment,
        start_new_session=True,  # Ctrl-C comes once, through us
        preexec_fn=_as_child,  # noqa: PLW1509 - no thread runs here yet
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.terminate()


def _as_child() -> None:
    """Ask Linux to kill this process when the one that started it has gone (killed, it could not pass a signal on).

    Signals that it passes on before the job listens to them wait until it does.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _passing_on(children: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(children: list[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended; one that waits for another that will not come any more is ended."""
    alone_s = 0.0
    while any(child.poll() is None for child in children):
        time.sleep(_LOOK_S)
        codes = [child.returncode for child in children if child.returncode is not None]
        alone_s += _LOOK_S if codes else 0.0
        if any(codes) and alone_s > _AFTER_FAILURE_S:
            for child in children:
                child.kill()
        elif alone_s > _AFTER_STOP_S:
            alone_s = 0.0
            for child in children:
                child.terminate()


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
