"""What this machine has: device, memory, disk. Asks the operating system and nvidia-smi, never torch."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from flux_svd import files
from flux_svd.errors import InvalidRequest
from flux_svd.memory import Budget
from flux_svd.storing import installed_kinds


def read_budget(home: Path, *, vram_bytes: int | None = None) -> Budget:
    """Return what this machine offers right now; of a GPU at most `vram_bytes`.

    What the program's own warm engines hold counts as free: they give way before another model loads.

    Where there is none, `vram_bytes` stands in for one of that size (planning for another machine).
    """
    held = [json.loads(row) for row in files.read_living(home / "held")]
    host = int(psutil.virtual_memory().available) + sum(row["host"] for row in held)
    disk = shutil.disk_usage(_existing(home)).free
    budget = _nvidia(host, disk) or _apple(host, disk) or Budget("cpu", cpu_name(), host, host, disk, _computes_bf16())
    if budget.device == "cuda":
        budget = replace(budget, device_bytes=budget.device_bytes + sum(row["device"] for row in held))
    tried = frozenset(files.read_json(home / "levers.json").get(budget.device_name, {}))
    budget = replace(budget, tried=tried, installed=installed_kinds())
    if vram_bytes is None:
        return budget
    if budget.device == "cuda":
        return replace(budget, device_bytes=min(vram_bytes, budget.device_bytes))
    return replace(budget, device="cuda", device_name="a GPU as given", device_bytes=vram_bytes)


@contextmanager
def held(home: Path, device_bytes: int, host_bytes: int) -> Iterator[None]:
    """Let every process of this data folder know, while the block runs, what warm engines hold in this one."""
    with files.written_temporarily(home / "held", json.dumps({"device": device_bytes, "host": host_bytes}).encode()):
        yield


def record_levers(home: Path, device_name: str, levers: Iterable[str]) -> None:
    """Record that ways to place a model have run on such a device: from then on plans may take them by themselves."""
    new = set(levers) - set(files.read_json(home / "levers.json").get(device_name) or ())
    if new:
        with files.changed_json(home / "levers.json") as known:
            today = datetime.date.today().isoformat()
            known[device_name] = {**dict.fromkeys(sorted(new), today), **(known.get(device_name) or {})}


def cpu_name() -> str:
    """Return the processor's name and how many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"


def count_devices() -> int:
    """Return how many devices of a kind may work side by side here: the NVIDIA GPUs this process may use, or 1."""
    if _visible() is not None:
        return max(1, len(_visible() or ()))
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 1
    return max(1, sum(line.startswith("GPU ") for line in answer.splitlines()))


def environment_for(number: int) -> dict[str, str]:
    """Return the variables by which a process started with them sees the NVIDIA GPU `number` of this process and no other.

    They must be set before the process loads torch; in the order of the bus, nvidia-smi and CUDA count alike
    (https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#cuda-environment-variables).

    Raises:
        InvalidRequest: there is no such device.
    """
    visible, many = _visible(), count_devices()
    if not 0 <= number < many:
        raise InvalidRequest("device", number, f"0 to {many - 1}: this machine has {many}")
    if visible == []:
        return {}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible[number] if visible else str(number)}


def _visible() -> list[str] | None:
    """Return the NVIDIA GPUs this process was limited to, by number or id, or None where it was not limited."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return None
    names = [name.strip() for name in told.split(",")]
    end = next((n for n, name in enumerate(names) if name in ("", "-1")), len(names))  # CUDA stops at the first bad one
    return names[:end]


def _computes_bf16() -> bool:
    """Return whether the processor multiplies in bfloat16 by itself; False where it cannot be told."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def _nvidia(host: int, disk: int) -> Budget | None:
    """Return the first NVIDIA GPU that this process may use, or None."""
    visible = _visible()
    if visible == []:
        return None
    query = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free,compute_cap", "--format=csv,noheader,nounits"]
    if visible and not visible[0].startswith("MIG"):  # a part of a GPU has no row of its own
        query.append(f"--id={visible[0]}")
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
        name, _, free, capability = (part.strip() for part in answer[0].split(","))
        bf16 = float(capability) >= 8.0  # Ampere and later compute in bfloat16
        return Budget("cuda", name, int(free) * 2**20, host, disk, bf16)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _apple(host: int, disk: int) -> Budget | None:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return None
    total = int(psutil.virtual_memory().total)
    # Metal's recommended working set is about two thirds of unified memory on small machines.
    return Budget("mps", f"Apple silicon, {round(total / 2**30)} GiB unified memory", min(host, total * 2 // 3), host, disk)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
