"""The processes that train one network together, started by torchrun; without torchrun there is one process."""

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
def process_group(device: str) -> Iterator[str]:
    """While open, this process is a member of the group that torchrun started; yields the device it computes on."""
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    store, rank, count = next(rendezvous("env://"))
    # torchrun's store still holds the addresses of dead processes, which restarted ones must not use
    store = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def count() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The rank of this process; the process of rank 0 writes files and shows progress."""
    return dist.get_rank() if dist.is_initialized() else 0


def synchronised(module: Any) -> Any:
    """The module, with the weights of rank 0 and with gradients averaged over all processes."""
    return DistributedDataParallel(module) if count() > 1 else module


def mean_of_all(values: Tensor) -> Tensor:
    """The mean of each value over all processes."""
    if count() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / count()
