"""The parts by themselves: frames, system call tables, the filter as a program, the scratch folder."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmi_env.tools.code.inside import frames, scratch, seccomp, syscalls
from llmi_env.tools.code.inside.frames import FrameError, Kind, read_frame, write_frame


def pipe_with(data: bytes) -> int:
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader


def test_frames_come_back_as_written() -> None:
    reader, writer = os.pipe()
    write_frame(writer, Kind.JOB, {"seed": 1}, b"source")
    write_frame(writer, Kind.CANCEL, {})
    first, second = read_frame(reader), read_frame(reader)
    assert (first.kind, first.head, first.payload) == (Kind.JOB, {"seed": 1}, b"source")
    assert second.kind is Kind.CANCEL
    os.close(writer)
    with pytest.raises(EOFError):
        read_frame(reader)
    os.close(reader)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_frame_raise_what_is_said(data: bytes) -> None:
    reader = pipe_with(data)
    try:
        read_frame(reader)
    except (FrameError, EOFError):
        pass
    finally:
        os.close(reader)


@pytest.mark.parametrize("lengths", [(2**32 - 1, 0), (0, 2**32 - 1), (frames.MAX_HEAD + 1, 0)])
def test_lengths_over_the_cap_are_never_read(lengths: tuple[int, int]) -> None:
    reader = pipe_with(frames.HEADER.pack(Kind.TEXT, *lengths))
    with pytest.raises(FrameError, match="cap"):
        read_frame(reader)
    os.close(reader)


def test_reading_stops_at_its_deadline() -> None:
    reader, writer = os.pipe()
    with pytest.raises(TimeoutError):
        read_frame(reader, time.monotonic() + 0.05)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("name", sorted(syscalls.MACHINES))
def test_numbers_agree_with_libseccomp(name: str) -> None:
    library = ctypes.util.find_library("seccomp")
    if library is None:
        pytest.skip("libseccomp is not installed here: nothing to compare the tables with")
    machine = syscalls.MACHINES[name]
    resolve = ctypes.CDLL(library).seccomp_syscall_resolve_name_arch
    resolve.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    wrong = {
        call: number for call, number in machine.allowed.items() if resolve(machine.audit_arch, call.encode()) != number
    }
    assert wrong == {}


@pytest.mark.parametrize("name", sorted(syscalls.MACHINES))
def test_dangerous_calls_are_in_no_table(name: str) -> None:
    denied = {
        "socket", "connect", "clone", "clone3", "fork", "vfork", "execve", "execveat", "ptrace", "process_vm_readv", "mount",
        "unshare", "setns", "bpf", "io_uring_setup", "memfd_create", "chmod", "fchmod", "fchmodat", "chown", "utimensat",
        "prctl", "setrlimit", "symlinkat", "linkat", "pidfd_send_signal", "tkill", "timer_create", "shmget", "mq_open", "keyctl",
    }  # fmt: skip
    assert not denied & set(syscalls.MACHINES[name].allowed)


def evaluate(code: bytes, arch: int, number: int, *arguments: int) -> int:
    """What the kernel would answer: a BPF machine for the four instructions the filter uses."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *(argument & (2**64 - 1) for argument in (*arguments, *[0] * 6)[:6]))
    program = list(struct.iter_unpack("=HBBI", code))
    accumulator = position = 0
    while True:
        operation, yes, no, value = program[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x06:
            return int(value)
        else:
            taken = accumulator == value if operation == 0x15 else accumulator >= value
            position += yes if taken else no


ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000


@pytest.mark.parametrize("name", sorted(syscalls.MACHINES))
def test_the_filter_decides_as_meant_on_every_cpu(name: str) -> None:
    machine = syscalls.MACHINES[name]
    code = seccomp.program(4242, machine)
    assert len(code) // 8 <= 4096
    numbers = machine.allowed

    def verdict(number: int, *arguments: int) -> int:
        return evaluate(code, machine.audit_arch, number, *arguments)

    conditional = {"kill", "tgkill", "fcntl", "ioctl", "prlimit64"}
    assert {verdict(number) for call, number in numbers.items() if call not in conditional} == {ALLOW}
    others = set(range(syscalls.FIRST_UNIFIED)) - set(numbers.values())
    assert {verdict(number) for number in others} == {EPERM}
    assert {verdict(number) for number in range(syscalls.FIRST_UNIFIED, 600)} == {ENOSYS}
    for call in ("kill", "tgkill"):
        assert [verdict(numbers[call], pid, 9) for pid in (4242, 4241, 0, -1, -4242)] == [ALLOW] + [EPERM] * 4
    assert [verdict(numbers["fcntl"], 3, command) for command in (1, 4, 8, 10)] == [ALLOW, ALLOW, EPERM, EPERM]
    assert [verdict(numbers["ioctl"], 0, request) for request in (0x5401, 0x5412, 0x8901)] == [ALLOW, EPERM, EPERM]
    prlimit = numbers["prlimit64"]
    assert [verdict(prlimit, *a) for a in ((0, 7, 0, 1), (9, 7, 0, 1), (0, 7, 8, 0), (0, 7, 1 << 40, 0))] == [ALLOW] + [
        EPERM
    ] * 3
    assert evaluate(code, 0x40000003, numbers["read"]) == KILL
    if machine.foreign_abi_from is not None:
        assert verdict(machine.foreign_abi_from + 1) == KILL


def test_an_unknown_cpu_is_refused_by_name() -> None:
    with pytest.raises(OSError, match="'sparc64'; known: aarch64, x86_64"):
        syscalls.machine("sparc64")


def test_quota_counts_bytes_entries_and_depth(tmp_path: Path) -> None:
    assert not scratch.over_quota(str(tmp_path), 100_000)
    (tmp_path / "a").write_bytes(bytes(50_000))
    assert not scratch.over_quota(str(tmp_path), 100_000)
    (tmp_path / "b").write_bytes(bytes(50_000))
    assert scratch.over_quota(str(tmp_path), 100_000)
    assert not scratch.over_quota(str(tmp_path / "gone"), 1)
    deep = tmp_path / "/".join("d" * 40)
    deep.mkdir(parents=True)
    assert scratch.over_quota(str(tmp_path), 10**9)


def test_removal_copes_with_depth_links_and_missing_permission(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    top = tmp_path / "top"
    top.mkdir()
    (top / "link").symlink_to(outside)
    (top / ".moved-1").mkdir()
    (top / "locked" / "inner").mkdir(parents=True)
    (top / "locked" / "inner" / "file").write_text("x")
    (top / "locked" / "inner").chmod(0)
    (top / "locked").chmod(0)
    here = os.getcwd()
    try:
        os.chdir(top)
        for _ in range(1500):
            os.mkdir("deeper")
            os.chdir("deeper")
    finally:
        os.chdir(here)
    scratch.remove(str(top))
    assert not top.exists()
    assert (outside / "kept").read_text() == "kept"
    scratch.remove(str(top))
