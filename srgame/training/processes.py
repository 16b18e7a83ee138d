"""The processes that train one network together, as torchrun starts them; started without it, there is one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def joined(device: str) -> Iterator[str]:
    """While open, this process belongs to the group that torchrun started; the device that it computes on."""
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    store, rank, count = next(rendezvous("env://"))
    # restarted processes must not meet the addresses of dead ones, which the store that torchrun keeps still holds
    store = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is; the one of rank 0 writes files and shows progress."""
    return dist.get_rank() if dist.is_initialized() else 0


def synchronised(module: Any) -> Any:
    """The module, its gradients averaged over all processes, its weights those of rank 0."""
    return DistributedDataParallel(module) if count() > 1 else module


def mean_of_all(values: Tensor) -> Tensor:
    """The mean over processes of each value."""
    if count() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / count()
