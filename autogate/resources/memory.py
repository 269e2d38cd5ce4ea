"""Peak memory of a compact network in one forward pass, observed at the device's allocator."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping

import torch
from torch import nn

from autogate.gates import get_family
from autogate.latency.hardware import inference_setting
from autogate.latency.timing import prepare, random_input
from autogate.policy import Policy
from autogate.records import Setting, Site
from autogate.sites import Network
from autogate.surgery import script_decisions
from autogate.system import allocation_sizes

Decisions = Mapping[str, int | None]


def peak_memory_bytes(compact: nn.Module, policy: Policy, network: Network, setting: Setting) -> int:
    """Return the most bytes that one forward pass needs at a time, for the input that needs most.

    Counted are the weights and buffers, the input batch, and all that the pass allocates while it runs: activations,
    gathered weights and the scratch space of its kernels. Not counted are the code, what libraries hold for the life of
    the process, and what an allocator holds in reserve. The values of weights and images do not matter, so that the
    answer is the same before and after training, and each time.

    Args:
        compact: The compact network; it stays as it is.
        policy: Its canonical policy. Gates whose cost varies take the decisions that need most memory.
        network: The dense network.
        setting: How it runs: device, batch size, dtype, layout and threads.
    """
    module = prepare(copy.deepcopy(compact), setting)
    x = random_input(network.input_shape, setting)
    observed = _observed_on_gpu if x.is_cuda else _observed_on_cpu
    peaks = []
    with inference_setting(setting):
        for decisions in _heaviest(policy, network.sites, setting.batch_size):
            script_decisions(module, decisions)
            peaks.append(observed(module, x))
    resident_bytes = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers(), x))
    return resident_bytes + max(peaks)


def _heaviest(policy: Policy, sites: Mapping[str, Site], batch_size: int) -> list[Decisions]:
    """Return the decisions of which one takes most memory: all gates open, or blocks shut for a single image.

    A block that some images skip runs on a copy of the others.
    """
    everything: dict[str, int | None] = {
        site: get_family(gate.family).decisions(sites[site], gate, batch_size)[-1] for site, gate in policy
    }
    if batch_size == 1:
        return [everything]
    all_but_one = {
        site: count - 1 if count is not None and sites[site].kind == "block" else count
        for site, count in everything.items()
    }
    return [everything] if all_but_one == everything else [everything, all_but_one]


def _observed_on_cpu(module: nn.Module, x: torch.Tensor) -> int:
    """Return the peak in bytes of what one pass allocates, from torch's profiler, which sees all allocations."""
    return max(itertools.accumulate(allocation_sizes(lambda: module(x)), initial=0))


def _observed_on_gpu(module: nn.Module, x: torch.Tensor) -> int:
    """Peak of what one pass asks torch's allocator for; how large the blocks are that it gets depends on the past."""
    module(x)  # libraries get the workspaces that they keep
    torch.cuda.synchronize(x.device)
    torch.cuda.reset_peak_memory_stats(x.device)
    before = torch.cuda.memory_stats(x.device)["requested_bytes.all.current"]
    module(x)
    torch.cuda.synchronize(x.device)
    return int(torch.cuda.memory_stats(x.device)["requested_bytes.all.peak"] - before)
