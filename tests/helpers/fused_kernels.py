"""What the Triton kernels of forward-backward are to do, program by program in numpy, where there is no Triton.

`python fused_kernels.py` runs the real ones by Triton's interpreter on one thread, and prints the largest differences;
`python fused_kernels.py compile` compiles them for a GPU that need not be here, and prints how many.
"""

import itertools
import json
import sys
import types

import numpy as np
import torch


class Launched:
    """A function of a program's place in the grid and of arrays, to be launched as Triton's kernels are."""

    def __init__(self, program):
        self.program, self.n_launches = program, 0

    def __getitem__(self, grid):
        def launch(*arguments, num_warps, enable_fp_fusion, FILLED, **constants):
            self.n_launches += 1
            assert FILLED >= constants["K"] > FILLED // 2
            arrays = [part.numpy() if isinstance(part, torch.Tensor) else part for part in arguments]
            for place in itertools.product(*(range(n) for n in grid)):
                self.program(place, *arrays, **constants)

        return launch


def as_module():
    """A module of fresh kernels."""
    return types.SimpleNamespace(
        forward_kernel=Launched(_forward), through_kernel=Launched(_through), backward_kernel=Launched(_backward)
    )


def _forward(place, likelihoods, is_start, initial, first, transitions, entries, *rest, K, OPERATORS, KEEP):
    ends, scales, filtered, logs, n_rows, length = rest
    chunk, state = place
    weights, log_scale = np.eye(K)[state] if OPERATORS else entries[chunk], 0.0
    for row in range(chunk * length, min((chunk + 1) * length, n_rows)):
        expected = weights @ transitions
        if is_start[row]:
            expected = first if row == 0 else initial
        with np.errstate(divide="ignore"):
            joint = likelihoods[row].astype(float) + np.log(expected)
        log_p = np.logaddexp.reduce(joint)
        weights = np.exp(joint - log_p)
        if OPERATORS:
            log_scale += log_p - likelihoods[row].max()  # what is the same for every state does not count
        else:
            logs[row] = log_p
        if KEEP:
            filtered[row] = weights
    if OPERATORS:
        ends[chunk, state], scales[chunk, state] = weights, log_scale


def _through(place, matrices, scales, entries, kept, ends, end_scales, n, size, K, REVERSE, OPERATORS):
    group, state = place
    weights, log_scale = np.eye(K)[state] if OPERATORS else entries[group], 0.0
    chunks = range(group * size, min((group + 1) * size, n))
    for chunk in reversed(chunks) if REVERSE else chunks:
        if not OPERATORS:
            kept[chunk] = weights
        operator = matrices[chunk] * np.exp(scales[chunk] - scales[chunk].max())[:, None]
        weights = operator @ weights if REVERSE else weights @ operator
        log_scale += np.log(weights.sum())
        weights = weights / weights.sum()
    if OPERATORS:
        ends[group, state], end_scales[group, state] = weights, log_scale
    else:
        ends[group] = weights


def _backward(place, filtered, is_start, before, after, transitions, pairs, n_rows, length, K):
    (chunk,) = place
    first, end = chunk * length, min((chunk + 1) * length, n_rows)
    filtered[end - 1] *= after[chunk] / (filtered[end - 1] @ after[chunk])
    pairs[chunk] = 0
    for row in range(end - 1, first - 1, -1):
        if is_start[row]:
            continue
        earlier = filtered[row - 1] if row > first else before[chunk]
        joint = earlier[:, None] * transitions
        joint *= filtered[row] / joint.sum(0)
        pairs[chunk] += joint
        if row > first:
            filtered[row - 1] = joint.sum(1)


def _differences():
    from hmm_oracles import enumerate_paths, random_chain

    from dynml.ops.hmm.forward_backward_scan import scan_forward, scan_forward_backward
    from dynml.ops.hmm.fused.scan import fused_forward, fused_forward_backward

    generator = torch.Generator().manual_seed(0)
    initial, transitions = random_chain(3, 2)
    initial = torch.tensor([0.0, 0.4, 0.6]).double()
    likelihoods = torch.randn(9, 3, generator=generator) * 30
    likelihoods[4:6] = 0.0
    expected = enumerate_paths(likelihoods, [0, 1, 9], initial, transitions)
    parts = likelihoods, torch.tensor([0, 1, 1, 9]), initial, transitions
    found = fused_forward_backward(*parts, rows_per_chunk=2)
    yield "paths", found, (expected.posteriors, expected.pairs, expected.log_likelihoods[[0, 0, 1]] * _one_empty())
    likelihoods = torch.randn(40, 5, generator=generator).double() * 5 - 1e4
    message, following = random_chain(5, 4)[0], random_chain(5, 5)[0]
    for ends, size in (({}, 7), ({"message_K": message, "following_K": following}, 1)):
        parts = likelihoods, torch.tensor([0, 14, 40]), *random_chain(5, 3)
        yield "scan", fused_forward_backward(*parts, **ends, rows_per_chunk=size), scan_forward_backward(*parts, **ends)
        ends.pop("following_K", None)
        yield "forward", fused_forward(*parts, **ends), scan_forward(*parts, **ends)


def _one_empty():
    return torch.tensor([1.0, 0.0, 1.0])


def _n_compiled():
    import triton
    from triton.backends.compiler import GPUTarget

    from dynml.ops.hmm.fused import kernels

    forward = [{"OPERATORS": True, "KEEP": False}, {"OPERATORS": False, "KEEP": False}]
    forward.append({"OPERATORS": False, "KEEP": True})
    through = [{"REVERSE": reverse, "OPERATORS": False} for reverse in (False, True)]
    through.append({"REVERSE": False, "OPERATORS": True})
    variants = [(kernels.forward_kernel, forward), (kernels.through_kernel, through), (kernels.backward_kernel, [{}])]
    types = {"likelihoods": "*fp32", "is_start": "*u8"}
    types |= dict.fromkeys(("n_rows", "length", "n_matrices", "size"), "i32")
    n_compiled = 0
    for kernel, constants in variants:
        for own in constants:
            own = {"K": 5, "FILLED": 8, **own}
            names = {name: "constexpr" if name in own else types.get(name, "*fp64") for name in kernel.arg_names}
            source = triton.compiler.ASTSource(kernel, names, constexprs=own)
            compiled = triton.compile(
                source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1, "enable_fp_fusion": True}
            )
            n_compiled += bool(compiled.asm["cubin"])
    return n_compiled


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["compile"]:
        print(_n_compiled())
        sys.exit()
    largest = [
        (name, max(float(((a - b).abs() / b.abs().clamp(min=1)).max()) for a, b in zip(found, expected, strict=True)))
        for name, found, expected in _differences()
    ]
    print(json.dumps(largest))
