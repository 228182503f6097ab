"""The system calls that a plotting child may make, by CPU.

An allowlist: reading and writing its own files, memory, time, and asking about itself. Whatever is not named here (sockets, new
processes and threads, exec, ptrace, mounts, file metadata, io_uring, and all that later kernels add) is refused. Numbers are
the kernel's own tables; a test compares them with libseccomp's where that is installed.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

_X86_64 = """
    read 0 write 1 open 2 close 3 stat 4 fstat 5 lstat 6 poll 7 lseek 8 mmap 9 mprotect 10 munmap 11 brk 12 rt_sigaction 13
    rt_sigprocmask 14 rt_sigreturn 15 pread64 17 pwrite64 18 readv 19 writev 20 access 21 pipe 22 select 23 sched_yield 24
    mremap 25 msync 26 mincore 27 madvise 28 dup 32 dup2 33 nanosleep 35 getitimer 36 alarm 37 setitimer 38 getpid 39
    sendfile 40 exit 60 uname 63 fsync 74 fdatasync 75 ftruncate 77 getdents 78 getcwd 79 chdir 80 fchdir 81 rename 82
    mkdir 83 rmdir 84 creat 85 unlink 87 readlink 89 umask 95 gettimeofday 96 getrlimit 97 getrusage 98 sysinfo 99 times 100
    getuid 102 getgid 104 geteuid 107 getegid 108 getppid 110 getpgrp 111 getgroups 115 getresuid 118 getresgid 120
    getpgid 121 getsid 124 sigaltstack 131 statfs 137 fstatfs 138 getpriority 140 gettid 186 time 201 futex 202
    sched_getaffinity 204 getdents64 217 set_tid_address 218 restart_syscall 219 fadvise64 221 clock_gettime 228
    clock_getres 229 clock_nanosleep 230 exit_group 231 openat 257 mkdirat 258 newfstatat 262 unlinkat 263 renameat 264
    readlinkat 267 faccessat 269 pselect6 270 ppoll 271 set_robust_list 273 fallocate 285 dup3 292 pipe2 293 preadv 295
    pwritev 296 getcpu 309 renameat2 316 getrandom 318 copy_file_range 326 preadv2 327 pwritev2 328 statx 332 rseq 334
    ioctl 16 kill 62 fcntl 72 tgkill 234 prlimit64 302
"""

_AARCH64 = """
    getcwd 17 dup 23 dup3 24 mkdirat 34 unlinkat 35 renameat 38 statfs 43 fstatfs 44 ftruncate 46 fallocate 47 faccessat 48
    chdir 49 fchdir 50 openat 56 close 57 pipe2 59 getdents64 61 lseek 62 read 63 write 64 readv 65 writev 66 pread64 67
    pwrite64 68 preadv 69 pwritev 70 sendfile 71 pselect6 72 ppoll 73 readlinkat 78 newfstatat 79 fstat 80 fsync 82
    fdatasync 83 exit 93 exit_group 94 set_tid_address 96 futex 98 set_robust_list 99 nanosleep 101 getitimer 102
    setitimer 103 clock_gettime 113 clock_getres 114 clock_nanosleep 115 sched_getaffinity 123 sched_yield 124
    restart_syscall 128 sigaltstack 132 rt_sigaction 134 rt_sigprocmask 135 rt_sigreturn 139 getpriority 141 getresuid 148
    getresgid 150 times 153 getpgid 155 getsid 156 getgroups 158 uname 160 getrlimit 163 getrusage 165 umask 166 getcpu 168
    gettimeofday 169 getpid 172 getppid 173 getuid 174 geteuid 175 getgid 176 getegid 177 gettid 178 sysinfo 179 brk 214
    munmap 215 mremap 216 mmap 222 fadvise64 223 mprotect 226 msync 227 mincore 232 madvise 233 renameat2 276 getrandom 278
    copy_file_range 285 preadv2 286 pwritev2 287 statx 291 rseq 293
    fcntl 25 ioctl 29 kill 129 tgkill 131 prlimit64 261
"""

FIRST_UNIFIED = 424
"""From this number on, all CPUs share one table; libc tries these newer calls and falls back when told `ENOSYS`."""


@dataclass(frozen=True)
class Machine:
    """What a filter must know of a CPU.

    Attributes:
        name: as `platform.machine()` says it.
        audit_arch: the kernel's `AUDIT_ARCH_*` constant.
        allowed: name to number of each permitted call.
        foreign_abi_from: first number of a second ABI on the same CPU (x32), or `None`.
    """

    name: str
    audit_arch: int
    allowed: dict[str, int]
    foreign_abi_from: int | None = None


def _table(text: str) -> dict[str, int]:
    words = text.split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


MACHINES: dict[str, Machine] = {
    "x86_64": Machine("x86_64", 0xC000003E, _table(_X86_64), foreign_abi_from=0x40000000),
    "aarch64": Machine("aarch64", 0xC00000B7, _table(_AARCH64)),
}


def machine(name: str | None = None) -> Machine:
    """The table of `name`, by default of this machine. Raises `OSError` for a CPU without one."""
    name = name or platform.machine()
    if name not in MACHINES or sys.byteorder != "little" or sys.maxsize < 1 << 32:
        raise OSError(f"no system call table for the CPU {name!r}; known: {', '.join(sorted(MACHINES))} (64 bit)")
    return MACHINES[name]
