"""Compiles a decoder with gaze and compares it with itself; run by test_compile in a process without type checks.

Types checked at run time would be compiled too.
"""

import sys

import torch

from gazekit.combine import GatedCombine
from gazekit.gaze import Gaze, begin_pass, install
from gazekit.loss import DistillationLoss
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from tests.gaze.poolers import HiddenPooler, KeyValuePooler, LearnedPooler
from tests.gaze.runs import Runs
from tests.gaze.tiny import Image, decoder, layout, prompt, sample

GRID = GridPartition(size=(1, 2, 2))
TOP = TopKRouter(k=1)
GAZES = {
    "plain": Gaze(partition=GRID, route=TOP),
    "learned": Gaze(partition=GRID, pool=LearnedPooler(), route=TOP, loss=DistillationLoss()),
    "branches": Gaze(
        branches=(
            Gaze(partition=GRID, pool=KeyValuePooler(), route=TOP, summaries=True),
            Gaze(partition=Runs(size=4), pool=HiddenPooler(), route=TOP, rows=Runs(size=3)),
        ),
        combine=GatedCombine(),
    ),
}
LAYOUTS = (
    layout(sample(2, Image(4, 4), 3), sample(1, Image(3, 3), 4)),
    layout(sample(1, Image(4, 4), 4), sample(2, Image(3, 3), 3)),
)


def main(name: str) -> None:
    torch.set_num_threads(1)
    model = decoder("qwen3").model
    # A layer more is compiled for as long again, and says no more.
    model.layers = model.layers[: 2 if name == "plain" else 1]
    install(model, GAZES[name])
    graphs: list[object] = []

    def backend(graph, examples):
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, examples)

    compiled = torch.compile(model, fullgraph=True, backend=backend)

    def run(called, lay):
        return called(
            inputs_embeds=prompt(lay),
            attention_mask=lay.tokens.valid[:, 0].long(),
            position_ids=lay.tokens.order[:, 0].clamp_min(0),
            use_cache=False,
            gaze_pass=begin_pass(model, lay, 0, lay.length),
        ).last_hidden_state

    def gradients(called, lay):
        model.zero_grad()
        out = run(called, lay)
        out[lay.tokens.valid[:, 0]].square().mean().backward()
        return [out.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    with torch.no_grad():
        for lay in LAYOUTS:
            torch.testing.assert_close(run(compiled, lay), run(model, lay), atol=1e-5, rtol=1e-5)
    assert len(graphs) == 1, f"two layouts of equal shape take {len(graphs)} graphs"
    model.train()
    for lay in LAYOUTS:
        ours, theirs = gradients(compiled, lay), gradients(model, lay)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert len(graphs) == 2, f"training takes {len(graphs) - 1} graphs"


if __name__ == "__main__":
    main(sys.argv[1])
