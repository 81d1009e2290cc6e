"""Nodes that hold a pod's images already."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from engine.constraints.image_locality import ImageLocality
from engine.model.objects import Container, ContainerImage, ImageVolume, Node, Pod, Volume
from engine.model.shape import image_name
from engine.state.columns import Columns
from tests.engine import build
from tests.engine.build import Bench

MEBI = 2**20


def holding(name: str, **images: int) -> Node:
    """Images by name, with their size in MiB."""
    made = build.node(name)
    held = tuple(
        ContainerImage((f"{image}:1", f"{image}@sha256:0"), size * MEBI) for image, size in images.items()
    )
    return replace(made, status=replace(made.status, images=held))


def using(*images: str, initial: tuple[str, ...] = (), volumes: tuple[str, ...] = ()) -> Pod:
    made = build.pod()
    spec = replace(
        made.spec,
        containers=tuple(Container(name=f"c{n}", image=image) for n, image in enumerate(images)),
        init_containers=tuple(Container(name=f"i{n}", image=image) for n, image in enumerate(initial)),
        volumes=tuple(Volume(image=ImageVolume(image)) for image in volumes),
    )
    return replace(made, spec=spec)


def score(size: float, containers: int = 1) -> int:
    """What so many MiB are worth."""
    return int(100 * (min(max(size, 23), 1000 * containers) - 23) / (1000 * containers - 23))


NODES = [holding("n0", big=600, small=20), holding("n1", big=600), holding("n2"), holding("n3")]
SCORES = {
    "held by half of the nodes: half its size": (using("big:1"), [score(300), score(300), 0, 0]),
    "by digest": (using("big@sha256:0"), [score(300), score(300), 0, 0]),
    "another tag": (using("big:2"), [0, 0, 0, 0]),
    "too small to matter": (using("small:1"), [0, 0, 0, 0]),
    "two containers: both sizes, twice the most": (
        using("big:1", "big:1"),
        [score(600, 2), score(600, 2), 0, 0],
    ),
    "initial containers count": (using("x", initial=("big:1",)), [score(300, 2), score(300, 2), 0, 0]),
    "volumes count, though they raise no most": (
        using("x", volumes=("big:1",)),
        [score(300), score(300), 0, 0],
    ),
    "all together": (using("small:1", "big:1"), [score(305, 2), score(300, 2), 0, 0]),
}


@pytest.mark.parametrize(("asked", "expected"), SCORES.values(), ids=SCORES)
def test_scores(asked: Pod, expected: list[int]) -> None:
    bench = Bench(NODES)
    found = ImageLocality(bench.cache.put_pod(asked).shape, bench.cache.columns)
    assert np.broadcast_to(found.raw(np.arange(4)), 4).tolist() == expected
    assert found.weight == 1


def test_the_most() -> None:
    bench = Bench([holding("n0", huge=9000)])
    found = ImageLocality(bench.cache.put_pod(using("huge:1")).shape, bench.cache.columns)
    assert found.raw(np.arange(1)).tolist() == [100]


NAMES = {
    "web": "web:latest",
    "web:1": "web:1",
    "registry:5000/web": "registry:5000/web:latest",
    "registry:5000/web:1": "registry:5000/web:1",
    "web@sha256:0": "web@sha256:0",
}


@pytest.mark.parametrize(("written", "full"), NAMES.items(), ids=NAMES)
def test_names(written: str, full: str) -> None:
    assert image_name(written) == full


def test_images_that_come_and_go() -> None:
    bench = Bench([holding("n0"), holding("n1", big=600)])
    found = ImageLocality(bench.cache.put_pod(using("big:1")).shape, bench.cache.columns)
    assert found.raw(np.arange(2)).tolist() == [0, score(300)]
    version = bench.cache.columns.node_changes.version
    assert not bench.cache.put_node(holding("n0", big=600))
    assert found.raw(np.arange(2)).tolist() == [score(600), score(600)]
    assert bench.cache.columns.node_changes.version == version, "images alone make nothing be asked again"
    bench.cache.remove_node("n1")
    assert found.raw(np.arange(1)).tolist() == [score(600)]
    bench.cache.put_node(holding("n0"))
    assert found.raw(np.arange(1)).tolist() == [0]


def test_more_nodes_than_there_was_room_for() -> None:
    columns = Columns()
    columns.put_node(holding("n0", big=600))
    bench = Bench([])
    found = ImageLocality(bench.cache.put_pod(using("big:1")).shape, columns)
    assert found.raw(np.arange(1)).tolist() == [score(600)]
    for number in range(1, 300):
        columns.put_node(holding(f"n{number}", **({"big": 600} if number > 200 else {})))
    raw = found.raw(np.arange(300))
    assert raw[0] == raw[250] == score(200)
    assert raw[100] == 0
