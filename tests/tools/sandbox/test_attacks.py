"""Hostile programs: each claim of the sandbox, attacked, with an observable of its own; a clean chart afterwards must be right."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmi_env.document import Picture
from llmi_env.errors import CodeRaised, LimitExceeded, NothingFound, ToolError
from llmi_env.tools.code import CodeConfig
from tests.tools.sandbox.conftest import OPEN, QUICK, SECRET, SECRET_NAME, Draw, Tools
from tests.tools.sandbox.processes import children_of, folder_of, zygote_of

# One process runs them all, so that the warm workers are started once.
pytestmark = pytest.mark.xdist_group("code")

CLEAN = "plt.plot(np.random.rand(5)); plt.title('clean')"


@pytest.fixture(scope="module")
def clean(tools: Tools) -> Picture:
    """As one tier draws it: all must give the same bytes."""
    first = "docker" if OPEN in os.environ else QUICK
    return tools.get(CodeConfig(sandbox=first, workers=1, timeout=30))(CLEAN, seed=1)


@pytest.fixture(autouse=True)
def _clean_chart_afterwards(tight: Draw, clean: Picture) -> Iterator[None]:
    yield
    assert tight(CLEAN, seed=1).png == clean.png


def failure(draw: Draw, code: str) -> ToolError:
    with pytest.raises(ToolError) as caught:
        draw(code)
    return caught.value


def told(draw: Draw, expression: str, before: str = "") -> str:
    """What `expression` is inside the sandbox, by way of the message of an error."""
    error = failure(draw, f"{before}\nraise ValueError('<<' + str(({expression})) + '>>')")
    assert isinstance(error, CodeRaised), error
    return str(error).rsplit("<<", 1)[1].split(">>")[0]


def refused(error: ToolError) -> bool:
    """By a lock, or because a worker with a root of its own has no such thing."""
    return any(
        word in str(error)
        for word in ("Permission denied", "not permitted", "PermissionError", "No such file", "Read-only file system")
    )


# ---------------------------------------------------------------- reading and writing outside


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/hostname", "/proc/self/environ", "/proc/self/maps", "/proc/1/cmdline"]
)
def test_cannot_read_the_system(tight: Draw, path: str) -> None:
    assert refused(failure(tight, f"open({path!r}, 'rb').read()"))


@pytest.mark.parametrize(
    "path", ["/", "/etc", "/proc", "/tmp", "..", "/dev/shm", str(Path.home()), str(Path(__file__).parent)]
)
def test_cannot_list_folders(tight: Draw, path: str) -> None:
    assert refused(failure(tight, f"import os; os.listdir({path!r})"))


def test_cannot_touch_a_file_outside(tight: Draw, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    canary.chmod(0o644)
    before = canary.stat()
    for action in (
        "open(p).read()", "open(p, 'w')", "open(p, 'a')", "os.truncate(p, 0)", "os.remove(p)", "os.rename(p, 'mine')",
        "os.link(p, 'mine')", "os.symlink(p, 'mine')", "os.chmod(p, 0)", "os.chown(p, 1, 1)", "os.utime(p, (0, 0))",
        "os.setxattr(p, 'user.x', b'1')", "open(os.path.dirname(p) + '/new', 'w')", "os.mkdir(os.path.dirname(p) + '/new')",
    ):  # fmt: skip
        error = failure(tight, f"import os; p = {str(canary)!r}\n{action}")
        assert refused(error), (action, error)
    after = canary.stat()
    assert canary.read_text() == "untouched"
    assert (after.st_mode, after.st_mtime_ns, after.st_ino, after.st_uid) == (
        before.st_mode, before.st_mtime_ns, before.st_ino, before.st_uid,
    )  # fmt: skip
    assert os.listdir(tmp_path) == ["canary"]


def test_cannot_change_the_libraries(tight: Draw) -> None:
    import matplotlib

    assert refused(failure(tight, f"open({matplotlib.__file__!r}, 'a')"))


def test_cannot_see_environment_or_descriptors_or_rights(tight: Draw) -> None:
    assert os.environ[SECRET_NAME] == SECRET
    names = told(tight, "' '.join(sorted(os.environ))", "import os")
    assert SECRET_NAME not in names
    assert set(names.split()) <= {
        "HOME", "LANG", "LC_CTYPE", "PATH", "TZ", "MPLBACKEND", "MPLCONFIGDIR", "MPL_IGNORE_SYSTEM_FONTS", "PYTHONHASHSEED",
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS", "OPENBLAS_CORETYPE",
        "OPENBLAS_L2_SIZE", "LD_LIBRARY_PATH", "KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK", "HOSTNAME", "PWD",
    }  # fmt: skip
    listing = "import os\ndef there(fd):\n    try: os.fstat(fd); return True\n    except OSError: return False"
    assert told(tight, "[fd for fd in range(256) if there(fd)]", listing) == "[0, 1, 2, 3]"
    held = "import ctypes, struct\nh = ctypes.create_string_buffer(struct.pack('=Ii', 0x20080522, 0)); d = ctypes.create_string_buffer(24)"
    assert told(tight, "ctypes.CDLL(None).capget(h, d), d.raw.count(0)", held) == "(-1, 24)"


def test_cannot_read_what_another_call_left(tight: Draw) -> None:
    tight("open('note.txt', 'w').write('secret'); plt.plot([1, 2])")
    assert told(tight, "os.listdir('.')", "import os") == "[]"
    assert "No such file" in str(failure(tight, "open('note.txt')"))


def test_an_earlier_source_is_not_in_inherited_memory(tight: Draw) -> None:
    tight("marker = 'LLMI-CANARY-' + '0123456789' * 200\nplt.plot([1, 2])")
    scan = """
import ctypes
libc = ctypes.CDLL(None); libc.sbrk.restype = ctypes.c_void_p
page, found, scanned, mapped = 4096, 0, 0, ctypes.create_string_buffer(1)
address = libc.sbrk(0) // page * page - page
while scanned < 60_000_000 and libc.mincore(ctypes.c_void_p(address), page, mapped) == 0:
    data = ctypes.string_at(address, page)
    start = data.find(b'I-CANARY-')
    while start >= 0:
        found += data[start - 3:start] == bytes([76, 76, 77])
        start = data.find(b'I-CANARY-', start + 1)
    scanned += page; address -= page
"""
    assert told(tight, "f'{found} {scanned > 5_000_000}'", scan) == "0 True"
    here = "marker = 'LLMI-CANARY-' + '0123456789' * 200\nkept = [marker.encode() + bytes(9) for _ in range(50)]\n"
    assert int(told(tight, "found", here + scan)) > 0, "the scan would have found it"


# ---------------------------------------------------------------- network, processes, signals


def test_cannot_reach_the_network(tight: Draw, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as local:
        listener.settimeout(0.1)
        local.bind("\0llmi-test-abstract")
        local.listen()
        local.settimeout(0.1)
        port = listener.getsockname()[1]
        for code in (
            f"import socket; socket.create_connection(('127.0.0.1', {port}))",
            f"pd.read_csv('http://127.0.0.1:{port}/x.csv')",
            "import socket; socket.socket(socket.AF_UNIX).connect('\\0llmi-test-abstract')",
            "import socket; socket.socketpair()",
            "import socket; socket.create_server(('127.0.0.1', 0))",
            "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        ):
            assert "not permitted" in str(failure(tight, code)), code
        for server in (listener, local):
            with pytest.raises(TimeoutError):
                server.accept()


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess; subprocess.run(['id'])",
        "import os; assert os.system('id') == 0",
        "import os; os.fork()",
        "import os; os.posix_spawn('/bin/sh', ['sh'], {})",
        "import os; os.execv('/bin/sh', ['sh'])",
        "import multiprocessing as m; m.Process(target=print).start()",
        "import threading; threading.Thread(target=print).start()",
        "import concurrent.futures as c; c.ThreadPoolExecutor().submit(print).result()",
        "import os\nwhile True: os.fork()",
        "import ctypes; assert ctypes.CDLL(None, use_errno=True).syscall(56, 17, 0, 0, 0, 0) > 0",
        "import os; os.memfd_create('x')",
    ],
)
def test_cannot_start_anything(tight: Draw, code: str) -> None:
    before = _children(tight)
    assert isinstance(failure(tight, code), CodeRaised)
    assert _children(tight) == before == []


@pytest.mark.parametrize(
    "code",
    [
        "os.kill(os.getppid(), signal.SIGKILL)",
        "os.kill(-1, signal.SIGKILL)",
        "os.kill(0, signal.SIGKILL)",
        "os.killpg(os.getpgid(0), signal.SIGKILL)",
        "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), signal.SIGKILL)",
        "r, w = os.pipe(); fcntl.fcntl(r, 10, 9); fcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())",
        "assert libc.ptrace(16, os.getppid(), 0, 0) == 0",
        "assert libc.process_vm_readv(os.getppid(), 0, 0, 0, 0, 0) == 0",
        "assert libc.prctl(1, 0) == 0",
        "assert libc.prctl(4, 1) == 0",
        "open(f'/proc/{os.getppid()}/mem', 'rb')",
        "open('/proc/self/oom_score_adj', 'w')",
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        "os.setpriority(os.PRIO_PROCESS, 0, -5)",
        "os.sched_setaffinity(0, {0})",
        "os.setuid(0); os.setsid()",
        "fcntl.ioctl(1, 0x5412, b'x')",
        "fcntl.lockf(open(os.__file__, 'rb'), fcntl.LOCK_SH, 8, 4242)",
    ],
)
def test_cannot_reach_its_worker_or_lift_its_limits(tight: Draw, code: str) -> None:
    worker = tight.tool.pool.workers[0].pid  # type: ignore[attr-defined]
    prelude = "import os, signal, fcntl, resource, ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
    assert isinstance(failure(tight, prelude + code), CodeRaised)
    assert [w.pid for w in tight.tool.pool.workers if w.alive] == [worker]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- exhausting


LIMITS = [
    "busy",
    "asleep",
    "deaf",
    "without_pipes",
    "backtracking",
    "ones",
    "bytes",
    "long_string",
    "print",
    "spam",
    "flood",
    "noise",
    "one_big_file",
    "filling",
    "many_files",
    "deep",
    "locked",
    "huge",
    "large",
    "far_text",
]


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("while True: pass", "time"),
        ("import time; time.sleep(60)", "time"),
        (
            "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True:\n    try: pass\n    except BaseException: pass",
            "time",
        ),
        ("import os\nfor fd in (1, 2, 3): os.close(fd)\nimport time; time.sleep(60)", "time"),
        ("import re; re.match('(a+)+$', 'a' * 40 + 'b')", "time"),
        ("x = np.ones(10**9)", "memory"),
        ("x = []\nwhile True: x.append(bytes(10**7))", "memory"),
        ("x = 'a' * 10**10", "memory"),
        ("print('x' * 10**6)", "output"),
        ("while True: print('spam')", "output"),
        ("import os\nwhile True: os.write(3, b'x' * 65536)", "output"),
        (
            "plt.imshow(np.random.rand(900, 900)); plt.gcf().set_size_inches(9, 9); plt.gca().set_position([0, 0, 1, 1])",
            "output",
        ),
        ("open('big', 'wb').write(bytes(5 * 2**20))", "disk"),
        ("import time\nfor i in range(10**9): open(f'f{i}', 'wb').write(bytes(2**20))", "disk"),
        ("import time\nfor i in range(2100): open(f'f{i}', 'w').close()\ntime.sleep(9)", "disk"),
        ("import os, time\nfor i in range(300): os.mkdir('d'); os.chdir('d')\ntime.sleep(9)", "disk"),
        (
            "import os, time\nos.mkdir('locked', 0)\nfor i in range(9): open(f'f{i}', 'wb').write(bytes(2**20))\ntime.sleep(9)",
            "disk",
        ),
        ("plt.figure(figsize=(1000, 1000)); plt.plot([1, 2])", "pixels"),
        ("plt.figure(figsize=(30, 30)); plt.plot([1, 2])", "pixels"),
        ("plt.plot([1, 2]); plt.text(0, -30, 'far'); plt.text(1, 30, 'away')", "pixels"),
    ],
    ids=LIMITS,
)
def test_a_limit_is_named(tight: Draw, code: str, limit: str) -> None:
    error = failure(tight, code)
    assert isinstance(error, LimitExceeded), error
    assert error.limit == limit, error
    assert _children(tight) == []
    assert _leftovers(tight) == []


def test_a_tree_deeper_than_any_path_is_removed(tight: Draw) -> None:
    failure(tight, "import os\nwhile True:\n    os.mkdir('d' * 200, 0o700); os.chdir('d' * 200)")
    assert _leftovers(tight) == []


def test_unlinked_files_are_bounded_and_freed(tight: Draw) -> None:
    code = "import os\nkeep = []\nfor i in range(10**6):\n    keep.append(open('x', 'wb')); keep[-1].write(bytes(2**20)); os.remove('x')"
    assert "Too many open files" in str(failure(tight, code))


def test_files_without_a_name_are_refused(tight: Draw) -> None:
    assert "not permitted" in str(failure(tight, "import os; os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600)"))


def test_folders_that_are_renamed_all_the_time_hide_nothing(tight: Draw) -> None:
    code = """
import os
os.mkdir('d0')
for n in range(300): open(f'd0/f{n}', 'w').close()
for k in range(10**6):
    os.rename(f'd{k}', f'd{k + 1}')
    if k % 50 == 0: open(f'd{k + 1}/big{k}', 'wb').write(bytes(2**20))
"""
    error = failure(tight, code)
    assert isinstance(error, LimitExceeded)
    assert error.limit == "disk"


def test_a_crash_is_the_codes_own(tight: Draw) -> None:
    for code in (
        "import ctypes; ctypes.string_at(0)",
        "import os; os.abort()",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ):
        assert isinstance(failure(tight, code), CodeRaised)


# ---------------------------------------------------------------- poisoned state


POISONS = [
    "plt.rcParams['lines.linewidth'] = 20; sns.set_theme(); plt.style.use('dark_background')",
    "import builtins; builtins.len = lambda x: 0; builtins.open = None",
    "import matplotlib.figure as f; f.Figure.savefig = lambda *a, **k: None",
    "np.random.seed(0); np.random.rand = lambda *a: np.zeros(a)",
    "import sys; sys.modules['numpy'] = None; sys.path.clear(); sys.setrecursionlimit(60)",
    "import os; os.environ['MPLBACKEND'] = 'x'; os.chdir('/'); os.umask(0o777)",
    "pd.DataFrame.plot = None; plt.plot = None; sns.barplot = None",
    "open('matplotlibrc', 'w').write('lines.linewidth: 30'); open('numpy.py', 'w').write('x = 1')",
    "import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN); signal.alarm(1)",
    "import gc; gc.disable(); import atexit; atexit.register(print)",
]


@pytest.mark.parametrize("code", POISONS)
def test_nothing_leaks_into_the_next_call(tight: Draw, code: str) -> None:
    try:
        tight(code)
    except ToolError:
        pass  # The autouse fixture draws the clean chart and compares its bytes.


# ---------------------------------------------------------------- forged answers

_FORGE = """
import os, json, struct, zlib
def chunk(kind, data): return struct.pack('!I', len(data)) + kind + data + struct.pack('!I', zlib.crc32(kind + data))
def png(w, h, data, extra=b''):
    header = chunk(b'IHDR', struct.pack('!IIBBBBB', w, h, 8, 2, 0, 0, 0))
    return b'\\x89PNG\\r\\n\\x1a\\n' + header + extra + chunk(b'IDAT', data) + chunk(b'IEND', b'')
def answer(head, tail=b''):
    head = head if isinstance(head, bytes) else json.dumps(head).encode()
    os.write(3, struct.pack('!I', len(head)) + head + tail); os._exit(0)
"""


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("os._exit(0)", "raised"),
        ("os._exit(70)", "raised"),
        ("os.write(3, b'x'); os._exit(0)", "raised"),
        ("os.write(3, struct.pack('!I', 2**32 - 1) + b'{}'); os._exit(0)", "raised"),
        ("answer(b'not json')", "raised"),
        ("answer([1, 2])", "raised"),
        ("answer(b'[' * 60000)", "raised"),
        ("answer({'status': ['ok']})", "raised"),
        ("answer({'status': 'raised', 'error': {'a': 1}})", "raised"),
        ("answer({'status': 'ok'})", "raised"),
        ("answer({'status': 'ok'}, b'GIF89a' + bytes(100))", "raised"),
        ("answer({'status': 'ok'}, png(10, 10, b'garbage'))", "raised"),
        ("answer({'status': 'ok'}, png(10, 10, zlib.compress(bytes(310)))[:44])", "raised"),
        ("answer({'status': 'ok'}, png(60000, 60000, zlib.compress(bytes(10**6))))", "limit"),
        ("answer({'status': 'ok'}, png(0, 0, b''))", "raised"),
        ("answer({'status': 'ok'}, b'%PDF-1.4' + bytes(100))", "raised"),
        ("answer({'status': 'raised', 'error': '/' * 30000})", "raised"),
        ("answer({'status': 'ok'}, png(9, 9, zlib.compress(bytes(252)), chunk(b'aaAa', b'') * 9000))", "raised"),
    ],
)  # fmt: skip
def test_a_forged_answer_harms_nobody(roomy: Draw, code: str, kind: str) -> None:
    began = time.process_time()
    error = failure(roomy, _FORGE + code)
    assert time.process_time() - began < 1.0, "the host worked for it"
    assert error.kind == kind, error
    assert len(str(error)) <= 500


def test_a_forged_picture_is_only_a_picture(tight: Draw) -> None:
    """Not claimed to be impossible: code can draw what it likes. It comes out re-made, without anything hidden in it."""
    began = time.process_time()
    bomb = "chunk(b'iCCP', b'a\\0\\0' + zlib.compress(bytes(2**20 - 10), 9)) * 500 + chunk(b'zTXt', b'a\\0\\0' + zlib.compress(bytes(2**26)))"
    picture = tight(
        f"{_FORGE}answer({{'status': 'ok'}}, png(9, 9, zlib.compress(bytes(252)), chunk(b'tEXt', b'note\\0hidden') + {bomb}) + b'tail')"
    )
    assert time.process_time() - began < 1.0, "the host unpacked what nobody sees"
    assert picture.image.size == (9, 9)
    assert picture.image.info == {}
    assert b"hidden" not in picture.png
    assert b"tail" not in picture.png


def _children(draw: Draw) -> list[int]:
    """Processes, zombies too, whose parent is the worker."""
    return [child for worker in draw.tool.pool.workers for child in children_of(zygote_of(worker))]  # type: ignore[attr-defined]


def _leftovers(draw: Draw) -> list[str]:
    return [
        str(path.name)
        for worker in draw.tool.pool.workers  # type: ignore[attr-defined]
        for path in folder_of(worker).iterdir()
        if path.is_dir() and not path.is_symlink()
    ]


def test_a_hundred_calls_leave_no_process_and_no_file(tight: Draw) -> None:
    worker = tight.tool.pool.workers[0]  # type: ignore[attr-defined]
    zygote, folder = zygote_of(worker), folder_of(worker)
    descriptors = len(os.listdir(f"/proc/{zygote}/fd"))
    files = sorted(os.listdir(folder))
    for number in range(100):
        try:
            tight(f"open('f', 'w').write('x'); print({number})" + ("; plt.plot([1, 2])" if number % 10 == 0 else ""))
        except NothingFound:
            pass
    assert tight.tool.pool.workers == [worker]  # type: ignore[attr-defined]
    assert _children(tight) == []
    assert sorted(os.listdir(folder)) == files
    assert len(os.listdir(f"/proc/{zygote}/fd")) == descriptors
