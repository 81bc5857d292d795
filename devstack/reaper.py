"""A program that runs another, and waits for the orphans that it leaves, as process 1 should.

Patroni waits until its server is gone, and a zombie is not: where process 1 reaps nobody, as the
`su` of some containers, it would wait for ever. The text is run by any Python, since the user that
PostgreSQL runs as may not read this checkout.
"""

from typing import Final

REAPER: Final = """
import ctypes, os, signal, sys

libc = ctypes.CDLL(None)
libc.prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
ours = os.getpid()
child = os.fork()
if child == 0:
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != ours:
        os._exit(1)
    os.execvp(sys.argv[1], sys.argv[1:])
for number in signal.SIGTERM, signal.SIGINT:
    signal.signal(number, lambda number, _: os.kill(child, number))
while True:
    ended, status = os.wait()
    if ended == child:
        os._exit(os.waitstatus_to_exitcode(status) & 255)
"""
