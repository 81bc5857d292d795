"""A wall clock that a test may set for one process: its libc's answer is shifted."""

import struct
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *seconds;

__attribute__((constructor)) static void map(void)
{
    int fd = open(getenv("WALL_CLOCK"), O_RDONLY);
    seconds = mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, fd, 0);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME && seconds != MAP_FAILED && seconds != NULL)
        now->tv_sec += *seconds;
    return status;
}
"""


class WallClock:
    """The clock of a process that was started by *command*, followed by its own."""

    def __init__(self, folder: Path) -> None:
        """Build the library in *folder*."""
        library, self._file = folder / "wall_clock.so", folder / "wall_clock"
        command = ["cc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(library)]
        subprocess.run(command, input=SOURCE, text=True, check=True, timeout=60)
        self._file.write_bytes(struct.pack("q", 0))
        self.command = ["/usr/bin/env", f"LD_PRELOAD={library}", f"WALL_CLOCK={self._file}"]

    def set_by(self, seconds: int) -> None:
        """Let it be so many seconds ahead of the machine's; the monotonic clock stays."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))
