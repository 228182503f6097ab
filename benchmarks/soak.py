"""Thousands of calls to the code tool, good and bad mixed: what is left behind? Makes `results/soak.md`.

    python -m benchmarks.soak                          # 10,000 calls in the tier that `auto` takes
    python -m benchmarks.soak --calls 300 --sandbox landlock --print

Afterwards there may be no process, zombie or file more than before, and the clean chart must have the same bytes as at first.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import glob
import os
import random
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track

from llmi_env.errors import ToolError
from llmi_env.tools.base import ToolContext
from llmi_env.tools.code import CodeTool

OUT = Path(__file__).parent / "results" / "soak.md"
CLEAN = "plt.plot(np.random.rand(5)); plt.title('clean')"
CALLS = {
    "a chart": (CLEAN, 8),
    "an error": ("plt.plot([1, 2]); 1 / 0", 30),
    "nothing drawn": ("x = 1", 20),
    "not Python": ("plt.plot([1, 2", 15),
    "files left": ("import os\nfor i in range(20): os.mkdir(f'd{i}'); open(f'd{i}/f', 'w').write('x' * 999)", 8),
    "too much printed": ("while True: print('spam' * 99)", 5),
    "a crash": ("import os; os.abort()", 5),
    "killed itself": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 3),
    "a file too large": ("open('x', 'wb').write(bytes(20 * 2**20))", 2),
    "a forged answer": ("import os; os.write(3, b'x' * 99); os._exit(0)", 3),
    "cancelled": ("import time; time.sleep(5)", 1),
}
"""Programs and how often each comes."""


def left_behind() -> dict[str, int]:
    """Processes beneath this one, zombies among them, descriptors of this one, and folders of workers."""
    parents = collections.defaultdict(list)
    states = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(fields[1])].append(int(entry))
            states[int(entry)] = fields[0]
    mine, waiting = list[int](), [os.getpid()]
    while waiting:
        children = parents[waiting.pop()]
        mine += children
        waiting += children
    folders = [
        path for top in glob.glob(f"{tempfile.gettempdir()}/llmi-code-*") for path in glob.glob(f"{top}/chart-*")
    ]
    return {
        "processes": len(mine),
        "zombies": sum(states[pid] == "Z" for pid in mine),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "folders of charts": len(folders),
    }


async def soak(tool: CodeTool, calls: int, console: Console) -> tuple[dict[str, int], float]:
    """Make the calls, two at a time; returns how they ended, and seconds."""
    choice, ended = random.Random(0), collections.Counter[str]()
    names, weights = list(CALLS), [weight for _, weight in CALLS.values()]

    async def one(name: str) -> None:
        call = asyncio.create_task(tool({"code": CALLS[name][0]}, ToolContext(seed=1)))
        if name == "cancelled":
            await asyncio.sleep(0.05)
            call.cancel()
        try:
            await call
            ended["picture"] += 1
        except ToolError as error:
            ended[error.kind] += 1
        except asyncio.CancelledError:
            ended["cancelled"] += 1

    began = time.perf_counter()
    for _ in track(range(calls // 2), "calling", console=console):
        await asyncio.gather(*(one(name) for name in choice.choices(names, weights, k=2)))
    return dict(sorted(ended.items())), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--sandbox", default="auto", help="auto, docker, namespace or landlock")
    parser.add_argument("--print", action="store_true", help="print the page, keep the file")
    options = parser.parse_args()
    tool = CodeTool(workers=2, sandbox=options.sandbox, text_kib=8)

    async def run() -> str:
        first = (await tool({"code": CLEAN}, ToolContext(seed=1))).png
        await asyncio.gather(*(tool({"code": CLEAN}, ToolContext(seed=1)) for _ in range(2)))  # both workers
        before = left_behind()
        ended, seconds = await soak(tool, options.calls, Console(stderr=True))
        after = left_behind()
        picture = await tool({"code": CLEAN}, ToolContext(seed=1))
        await tool.aclose()
        closed = left_behind()
        if picture.png != first:
            raise SystemExit("the clean chart has other bytes than at first")
        rows = [f"| {name} | {before[name]} | {after[name]} | {closed[name]} |" for name in before]
        return "\n".join(
            [
                "# Ten thousand calls" if options.calls == 10_000 else f"# {options.calls} calls",
                "",
                f"`python -m benchmarks.soak --calls {options.calls}`, tier `{picture.provenance.backend}`, two workers, each replaced "
                f"after {tool.config.recycle_after} calls: {seconds:.0f} s. "
                f"Ends: {', '.join(f'{count} {name}' for name, count in ended.items())}.",
                "The clean chart has the same bytes before and after.",
                "",
                "| | before | after | tool closed |",
                "|---|---:|---:|---:|",
                *rows,
                "",
            ]
        )  # fmt: skip

    text = asyncio.run(run())
    if options.print:
        print(text)
    else:
        OUT.write_text(text, encoding="utf-8")
        print(OUT)


if __name__ == "__main__":
    main()
