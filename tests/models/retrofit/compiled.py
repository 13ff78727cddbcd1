"""Compiles the language model of a retrofitted model, and compares it with itself; run by test_training.

Types checked at run time would be compiled too.
"""

import torch

from gazekit import Gaze, GridPartition, TopKRouter, apply_gaze
from gazekit.gaze import begin_pass
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.tiny import SCENES, pixels

CASE = CASES["qwen2_5_vl"]


def main() -> None:
    torch.set_num_threads(1)
    gaze = Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1))
    model = apply_gaze(CASE.build(), gaze)
    decoder = model.get_decoder()
    decoder.layers = decoder.layers[:1]
    layout = model.layout(**CASE.write(SCENES["two images"]))
    embeddings = pixels(1, layout.length, decoder.config.hidden_size)
    compiled = torch.compile(decoder, fullgraph=True, backend="aot_eager")

    def run(called):
        decoder.zero_grad()
        step = begin_pass(decoder, layout, 0, layout.length)
        out = called(
            inputs_embeds=embeddings,
            attention_mask=torch.ones(1, layout.length, dtype=torch.long),
            position_ids=torch.arange(layout.length).expand(4, 1, -1),
            use_cache=False,
            gaze_pass=step,
        ).last_hidden_state
        out.square().mean().backward()
        return [out.detach()] + [p.grad.clone() for p in decoder.layers.parameters()]

    for one, other in zip(run(compiled), run(decoder), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


if __name__ == "__main__":
    main()
