"""Compiles every Triton kernel for an H100, which need not be here, and prints its name."""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from gazekit.kernels.attend import attend_kernel
from gazekit.kernels.combine import combine_kernel
from gazekit.kernels.route import scores_kernel, select_kernel
from gazekit.kernels.union import unite_kernel

FACTS = [f"{whose}_{what}" for whose in ("asking", "free") for what in ("kind", "document", "order")]
LONG = dict.fromkeys(["shift", "begin", "count", "row", *FACTS], "*i64")
SHORT = dict.fromkeys(["bits", "ends", "listed", "index"], "*i32")
HALF = dict.fromkeys(["query", "key", "value"], "*bf16")
WIDTHS = {"VALUE_DIM": 128, "BLOCK_VALUE": 128}
GROUPS = {"GROUP": 4, "PIECES": 32, "DIM": 128, "BLOCK_GROUP": 16, "BLOCK_DIM": 128, "BLOCK": 64}
KERNELS = [
    (
        attend_kernel,
        {**LONG, **SHORT, **HALF, "out": "*fp32", "lse": "*fp32", "scale": "fp32"},
        WIDTHS | GROUPS,
    ),
    (unite_kernel, {**LONG, **SHORT}, {"REGION_HEADS": 1, "MEMBERS": 4, "PER_MEMBER": 1, "BLOCK": 1024}),
    (combine_kernel, {"partial": "*fp32", "lse": "*fp32", "out": "*bf16"}, {"PIECES": 32, **WIDTHS}),
    (
        scores_kernel,
        {"query": "*fp32", "descriptor": "*fp32", "out": "*fp32"},
        {"GROUP": 4, "DIM": 128, "BLOCK_DIM": 128, "BLOCK": 32},
    ),
    (select_kernel, {"scores": "*fp32", "complete": "*i1", "index": "*i32"}, {"BLOCK": 1024}),
]

for kernel, types, constants in KERNELS:
    names = [parameter.name for parameter in kernel.params]
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
    )
    compiled = triton.compile(
        source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "num_stages": 1}
    )
    assert compiled.asm["cubin"]
    print(kernel.__name__)
