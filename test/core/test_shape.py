"""Shapes: presets look as published, JSON goes both ways, and what no backbone can look like is refused in one line."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tggbc_ros.core.backbones import build_backbone
from tggbc_ros.core.config import DEMO, R50_704
from tggbc_ros.core.shape import (
    MAX_BLOCKS,
    MAX_WIDTH,
    PRESETS,
    ResNetShape,
    Shape,
    ShapeError,
    Stage,
    VoVNetShape,
    from_json,
    resnet,
    to_json,
    vovnet,
)

WIDTHS = st.integers(1, 12)
CUT_RESNET = ResNetShape(
    "bottleneck", 5, (Stage(6, ((3, 2), None)), Stage(7, (None, (1, 4))), Stage(8, (None,)), Stage(9, ((2, 2),)))
)


def stages(inner: int, first_stays: bool) -> st.SearchStrategy[tuple[Stage, ...]]:
    block = st.tuples(*[WIDTHS] * inner)
    rest = st.lists(st.none() | block, max_size=2)
    first = block if first_stays else st.none() | block
    stage = st.builds(lambda trunk, head, more: Stage(trunk, (head, *more)), WIDTHS, first, rest)
    return st.tuples(stage, stage, stage, stage)


SHAPES: st.SearchStrategy[Shape] = st.one_of(
    st.builds(
        lambda stem, parts, left: ResNetShape("bottleneck", stem, parts, left), WIDTHS, stages(2, False), st.booleans()
    ),
    st.builds(lambda parts, left: ResNetShape("basic", parts[0].trunk, parts, left), stages(1, False), st.booleans()),
    st.builds(VoVNetShape, st.tuples(WIDTHS, WIDTHS, WIDTHS), stages(3, True), st.booleans()),
)


def test_presets_are_the_published_networks() -> None:
    fifty, vov = PRESETS["resnet50"], PRESETS["vovnet99"]
    assert isinstance(fifty, ResNetShape) and isinstance(vov, VoVNetShape)
    assert [(stage.trunk, len(stage.blocks), stage.blocks[0]) for stage in fifty.stages] == [
        (256, 3, (64, 64)),
        (512, 4, (128, 128)),
        (1024, 6, (256, 256)),
        (2048, 3, (512, 512)),
    ]
    assert [(stage.trunk, len(stage.blocks), stage.blocks[0]) for stage in vov.stages] == [
        (256, 1, (128,) * 5),
        (512, 3, (160,) * 5),
        (768, 9, (192,) * 5),
        (1024, 3, (224,) * 5),
    ]
    assert PRESETS["resnet18_half"] == resnet("basic", (2, 2, 2, 2), width=32)


@given(SHAPES)
def test_any_shape_comes_back_from_json_and_can_be_built(shape: Shape) -> None:
    text = to_json(shape)
    assert "\n" not in text and from_json(text) == shape
    with torch.device("meta"):
        backbone = build_backbone({"resnet": "resnet18", "vovnet": "vovnet99"}[shape.family], shape)
    assert backbone.shape == shape
    assert backbone.out_channels == (shape.stages[2].trunk, shape.stages[3].trunk)


@pytest.mark.parametrize("shape", [CUT_RESNET, dataclasses.replace(CUT_RESNET, constants=True)])
def test_a_backbone_without_some_blocks_keeps_its_names_and_sizes(shape: ResNetShape) -> None:
    backbone = build_backbone("resnet50", shape).eval()
    names = {name.rpartition(".")[0] for name in backbone.state_dict()}
    assert "layer2.1.conv3" in names and "layer2.0.downsample.0" in names
    assert not {"layer1.1.conv1", "layer2.0.conv1"} & names
    assert ("layer1.1" in names) == shape.constants
    with torch.inference_mode():
        c4, c5 = backbone(torch.randn(1, 3, 64, 96))
    assert (c4.shape, c5.shape) == ((1, 8, 4, 6), (1, 9, 2, 3))


def changed(change: dict[str, object]) -> str:
    return json.dumps(json.loads(to_json(CUT_RESNET)) | change)


def with_trunk(trunk: object) -> str:
    return changed({"stages": [{"trunk": trunk, "blocks": [[1, 1]]}] * 4})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "shape is no JSON"),
        ("[" * 30000, "shape is no JSON"),
        ("[" * 70000, "shape has 70000 characters, expected at most 65536"),
        ('{"family": ' + "9" * 6000 + "}", "shape is no JSON"),
        ("NaN", "shape is nan, expected names and values"),
        ("[1]", r"shape is \[1\], expected names and values"),
        ("{}", "family is None, expected one of resnet, vovnet"),
        ('{"family": ["resnet"]}', "family is .*expected one of resnet, vovnet"),
        ('{"family": "resnet", "stem": 8}', r"resnet has \['stem'\], expected block, constants, stages, stem"),
        (changed({"code": "print()"}), "resnet has .*'code'"),
        (changed({"block": "convnext"}), "block is 'convnext', expected one of basic, bottleneck"),
        (changed({"block": "basic"}), "expected 1 inner widths, as a basic block has"),
        (changed({"stem": 0}), "stem is 0, expected a whole number of channels from 1 to 4096"),
        (changed({"stem": [1, 2]}), r"stem is \(1, 2\), expected a whole number"),
        (changed({"stem": "64"}), "stem is '64'"),
        (changed({"constants": 1}), "constants is 1, expected true or false"),
        (changed({"stages": {}}), "stages is {}, expected a list"),
        (changed({"stages": []}), r"stages is \(\), expected 4 stages"),
        (changed({"stages": [7]}), "stage is 7, expected names and values"),
        (with_trunk(-1), "trunk is -1"),
        (with_trunk(10**30), "trunk is 1000000000000.*, expected a whole number"),
        (with_trunk(MAX_WIDTH + 1), "trunk is 4097"),
        (with_trunk(8.0), "trunk is 8.0"),
        (with_trunk(True), "trunk is True"),
        (with_trunk(None), "trunk is None"),
        (changed({"stages": [{"trunk": 4, "blocks": []}] * 4}), "expected 1 to 48 blocks"),
        (changed({"stages": [{"trunk": 4, "blocks": [None] * (MAX_BLOCKS + 1)}] * 4}), "expected 1 to 48 blocks"),
        (changed({"stages": [{"trunk": 4, "blocks": [3]}] * 4}), "block is 3, expected a list"),
        (changed({"stages": [{"trunk": 4, "blocks": [[2, 0]]}] * 4}), "block is 0"),
        (changed({"stages": [{"trunk": 4, "blocks": [[]]}] * 4}), r"block is \(\)"),
        (changed({"stages": [{"trunk": 4, "blocks": "gone"}] * 4}), "blocks is 'gone', expected a list"),
        (changed({"stages": [{"trunk": 4, "blocks": [[1, 1]], "more": 1}] * 4}), "stage has .*expected blocks, trunk"),
    ],
)
def test_what_is_no_shape_is_refused_in_one_short_line(text: str, message: str) -> None:
    with pytest.raises(ShapeError, match=message) as caught:
        from_json(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.dictionaries(
                st.sampled_from(["family", "block", "stem", "stages", "constants", "trunk", "blocks"]), inner
            )
        ),
    )
)
def test_any_json_is_a_shape_or_a_shape_error(data: object) -> None:
    base = json.loads(to_json(CUT_RESNET))
    for candidate in (data, {**base, "stages": data}, {**base, "stem": data}, {**base, "family": data}):
        try:
            from_json(json.dumps(candidate))
        except ShapeError as error:
            assert "\n" not in str(error)


def test_basic_blocks_have_a_stem_as_wide_as_the_first_trunk_and_vovnet_keeps_first_blocks() -> None:
    with pytest.raises(ShapeError, match="stem is 9, expected the first trunk, 64"):
        dataclasses.replace(resnet("basic", (1, 1, 1, 1)), stem=9)
    whole = vovnet((1, 1, 1, 1))
    with pytest.raises(ShapeError, match="expected a first block"):
        dataclasses.replace(whole, stages=(Stage(4, (None, (1, 1))), *whole.stages[1:]))


def test_a_models_shape_is_of_its_backbones_kind() -> None:
    assert dataclasses.replace(R50_704, shape=CUT_RESNET).shape == CUT_RESNET
    for model, shape in ((R50_704, vovnet((1, 1, 1, 1))), (DEMO, CUT_RESNET)):
        with pytest.raises(ValueError, match=f"shape is '{shape.family}', expected one of a {model.backbone}"):
            dataclasses.replace(model, shape=shape)
