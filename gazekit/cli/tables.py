"""What `gazekit cost` and `gazekit inspect` show to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gazekit.cli.output import print_facts, print_table

_ASSUMED = (
    "one text query at the end of the prompt; all regions are looked at equally often; heads that choose apart choose "
    "independently"
)

_PREFIXES = ("", "k", "M", "G", "T")


def print_cost(found: Mapping[str, Any]) -> None:
    """The figures of `gazekit cost`."""
    setting = found["setting"]
    shape, grid = setting["shape"], setting["grid"]
    tokens = f"{grid[0]} x {grid[1]} visual and {setting['context_tokens']} context tokens"
    looked = f"{_range(found['region_size'])} tokens, {_number(found['chosen'])} looked at"
    print_facts(
        "setting",
        {
            "units": f"{setting['units']} of {tokens}",
            "text": f"{setting['text_tokens']} tokens",
            "regions": f"{found['regions']} of {looked}",
            "decoder": f"{shape['name'] or 'given'}: {shape['num_layers']} layers, {shape['num_heads']} heads, "
            f"{shape['num_kv_heads']} KV heads of {shape['head_dim']}",
            "assumed": _ASSUMED,
        },
    )
    print_table(("a query, all layers", "dense", "gaze", "change"), _rows(found, found["share"]))
    for note in found["notes"]:
        print_facts("note", {note: ""})


def print_anatomy(found: Mapping[str, Any]) -> None:
    """The figures of `gazekit inspect`."""
    print_facts("parameters", {name: f"{count:,}" for name, count in found["parameters"].items()})
    gaze = found["gaze"]
    print_facts(
        "decoder",
        {
            "layers": str(gaze["layers"]),
            "heads": f"{gaze['heads']} of {gaze['head_dim']}, {gaze['kv_heads']} KV heads: {gaze['group']} to each",
        },
    )
    tokens = f"{gaze['dense']} visual and {gaze['context_tokens']} context tokens"
    routed = "none: dense" if gaze["k"] is None else f"{_number(gaze['k'])} of {gaze['regions']} regions"
    print_facts(
        "an image" if gaze["frames"] == 1 else f"a video of {gaze['frames']} frames",
        {
            "grid": f"{gaze['grid'][0]} x {gaze['grid'][1]}, {tokens}",
            "region size": f"{_range(gaze['region_size'])} tokens" if gaze["regions"] else "not divided",
            "looked at": routed,
        },
    )
    print_table(("a query, all layers", "dense", "gaze", "change"), _rows(gaze, gaze["attended_share"]))
    for call, choice in gaze["backend"].items():
        print_facts(
            f"backend for {call} on {gaze['device']}: {choice['used'] or 'none'}",
            {name: f"no: {reason}" for name, reason in choice["others"].items()},
        )
    for note in gaze["notes"]:
        print_facts("note", {note: ""})


def _rows(found: Mapping[str, Any], share: float) -> list[tuple[str, str, str, str]]:
    """The figures of dense attention beside those of gaze."""
    flops, held = found["attention_flops"], found["kv_bytes"]
    dense = held["dense"]
    return [
        (
            "entries attended, a layer",
            _number(found["dense"]),
            f"{_number(found['visual'])} + {_number(found['context'])} context",
            f"{share - 1:+.1%}",
        ),
        ("attention", _flops(flops["dense"]), _flops(flops["gaze"]), f"{flops['change']:+.1%}"),
        ("  over context tokens", "", _flops(found["context_flops"]), ""),
        ("  routing", "", _flops(found["routing_flops"]), ""),
        *(
            (what, _bytes(dense), _bytes(held[name]), f"{held[name] / dense - 1:+.1%}" if dense else "")
            for name, what in (
                ("stored", "KV, all stored"),
                ("resident", "KV, one selection resident"),
                ("read_group", "KV read, groups choose"),
                ("read_head", "KV read, heads choose"),
            )
        ),
    ]


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _range(size: list[int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]} to {size[1]}"


def _flops(value: float) -> str:
    return _scaled(value, "FLOPs")


def _bytes(value: float) -> str:
    return _scaled(value, "B")


def _scaled(value: float, unit: str) -> str:
    """With a decimal prefix: 1.37 GB."""
    power = next((n for n in range(len(_PREFIXES) - 1) if value < 1000 ** (n + 1)), len(_PREFIXES) - 1)
    return f"{value / 1000**power:.3g} {_PREFIXES[power]}{unit}"
