"""`explain` and `forward` as people call them: targets, starts, types, threads, processes, and errors."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import caffe2lrp
from caffe2lrp import Network, Preprocessing
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.kernels import team
from caffe2lrp.layers import activation, affine, batch_norm, lrn, pooling, softmax
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from tests import naive
from tests.layer_cases import assert_close, build, chain, random_input
from tests.maps import assert_same_map


def small(batch: int = 1) -> Network:
    """Every kind of kernel that has room of its own for each thread: convolution, max pooling, LRN; and a softmax."""
    return build(
        {"data": (batch, 3, 11, 9)},
        ("conv1", Convolution(14, (3, 3), stride=(2, 2), pad=(1, 1)), ["data"], ["c"]),
        ("relu1", activation.ReLU(), ["c"], ["r"]),
        ("norm1", lrn.LRN(3, 0.1), ["r"], ["n"]),
        ("pool1", pooling.Pooling("MAX", (3, 3), (2, 2)), ["n"], ["m"]),
        ("fc", InnerProduct(6), ["m"], ["f"]),
        ("prob", softmax.Softmax(), ["f"], ["y"]),
    )


@pytest.fixture(scope="module")
def network() -> Network:
    return small()


def images(count: int, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(8).normal(0, 1, (count, 3, 11, 9)).astype(np.float32).astype(dtype)


# -- targets ------------------------------------------------------------------------------------------------


def test_no_target_explains_the_highest_output(network: Network) -> None:
    x = images(4)
    e = caffe2lrp.explain(network, x)
    highest = e.outputs.argmax(axis=1)
    assert e.target == [[int(i)] for i in highest]
    np.testing.assert_array_equal(e.score, e.outputs.max(axis=1))
    np.testing.assert_array_equal(e.relevance, caffe2lrp.explain(network, x, list(highest)).relevance)


@pytest.mark.parametrize("target", [2, np.int64(2), np.uint8(2), [2], (2,), [[2]], np.array([2]), [np.int32(2)]])
def test_one_target_in_many_spellings(network: Network, target: Any) -> None:
    x = images(1)
    e = caffe2lrp.explain(network, x, target)
    assert e.target == [[2]]
    assert e.score == e.outputs[0, 2]
    np.testing.assert_array_equal(e.relevance, caffe2lrp.explain(network, x, 2).relevance)


def test_several_targets_of_one_image_start_together(network: Network) -> None:
    x = images(1)
    together = caffe2lrp.explain(network, x, [1, 4], rule="epsilon")
    apart = [caffe2lrp.explain(network, x, t, rule="epsilon") for t in (1, 4)]
    assert together.target == [[1, 4]]
    assert_close(together.relevance, apart[0].relevance + apart[1].relevance, 1e-10)
    assert together.score[0] == pytest.approx(apart[0].score[0] + apart[1].score[0], rel=1e-15)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ([0, 5, 2], [[0], [5], [2]]),
        ([[0, 1], [5], 2], [[0, 1], [5], [2]]),
        (3, [[3], [3], [3]]),
        (np.array([1, 1, 0]), [[1], [1], [0]]),
        (np.array([[1, 2], [1, 3], [0, 5]]), [[1, 2], [1, 3], [0, 5]]),
    ],
)
def test_targets_of_several_images(network: Network, target: Any, expected: list[list[int]]) -> None:
    x = images(3)
    e = caffe2lrp.explain(network, x, target)
    assert e.target == expected
    for n, classes in enumerate(expected):
        alone = caffe2lrp.explain(network, x[n : n + 1], classes)
        assert_close(e.relevance[n], alone.relevance[0], 1e-11)
        assert e.score[n] == pytest.approx(alone.score[0], rel=1e-12)


@pytest.mark.parametrize(
    ("count", "target", "message"),
    [
        (1, 6, "target 6 does not exist"),
        (1, -1, "target -1 does not exist"),
        (1, [0, 17], "target 17 does not exist"),
        (3, [0, 1], "2 targets were given for 3 images"),
        (2, [0, 1, 2], "3 targets were given for 2 images"),
        (2, [0, [1, 99]], "target 99 does not exist"),
        (1, "cat", "index"),
        (1, 1.5, "index"),
        (1, [1.5], "index"),
        (1, True, "index"),
        (2, [True, 0], "index"),
        (2, [None, 0], "index"),
    ],
)
def test_targets_that_do_not_fit(network: Network, count: int, target: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        caffe2lrp.explain(network, images(count), target)


# -- start, score, outputs ---------------------------------------------------------------------------------


def test_relevance_starts_below_the_logarithm_of_a_softmax(network: Network) -> None:
    last = network.layer("prob")
    logarithm = network.with_layers([*network.layers[:-1], replace(last, params=softmax.LogSoftmax())])
    np.testing.assert_array_equal(
        caffe2lrp.explain(logarithm, images(2), target=1).relevance,
        caffe2lrp.explain(network, images(2), target=1).relevance,
    )


def test_relevance_starts_below_the_softmax(network: Network) -> None:
    x = images(2)
    e = caffe2lrp.explain(network, x, [1, 2])
    scores = naive.forward(network, x)["f"]
    assert_close(e.outputs, scores, 1e-12)
    assert_close(e.score, scores[[0, 1], [1, 2]], 1e-12)
    for spelling in ("f", "fc"):  # by blob and by layer
        np.testing.assert_array_equal(caffe2lrp.explain(network, x, [1, 2], layer=spelling).relevance, e.relevance)


def test_start_with_one_is_the_relevance_divided_by_the_score(network: Network) -> None:
    x = images(1)
    score = caffe2lrp.explain(network, x, 1, rule="alphabeta")
    one = caffe2lrp.explain(network, x, 1, rule="alphabeta", start="one")
    np.testing.assert_array_equal(one.score, [1.0])
    np.testing.assert_array_equal(one.outputs, score.outputs)
    assert_close(one.relevance * score.score[0], score.relevance, 1e-12)


def test_a_network_without_softmax_starts_at_its_output() -> None:
    network = chain((2, 3, 4), InnerProduct(3), activation.ReLU())
    x = random_input(network)
    e = caffe2lrp.explain(network, x)
    assert_close(e.outputs, naive.forward(network, x)["y1"], 1e-12)


def test_start_at_an_inner_blob_and_at_the_input(network: Network) -> None:
    x = images(1)
    blob = network.forward(x, keep="m")["m"]
    e = caffe2lrp.explain(network, x, 7, layer="pool1")
    assert e.outputs.shape == (1, blob.size)
    assert e.score[0] == pytest.approx(blob.ravel()[7], rel=1e-6)
    at_input = caffe2lrp.explain(network, x, 5, layer="data")
    expected = np.zeros(x.size)
    expected[5] = x.ravel()[5]
    np.testing.assert_array_equal(at_input.relevance.ravel(), expected)


def test_rule_names_in_the_result(network: Network) -> None:
    x = images(1)
    assert caffe2lrp.explain(network, x).rule == "epsilon_alpha2_beta1"
    assert caffe2lrp.explain(network, x, composite="epsilon_plus").rule == "epsilon_plus"
    assert caffe2lrp.explain(network, x, rule="alphabeta", beta=2).rule == "alphabeta 2"
    from caffe2lrp import composites

    own = composites.Composite("mine", composites.find("alphabeta").table)
    e = caffe2lrp.explain(network, x, composite=own)
    assert e.rule == "mine"
    np.testing.assert_array_equal(e.relevance, caffe2lrp.explain(network, x, composite="alphabeta").relevance)


def test_the_same_network_explained_by_several_rules(network: Network) -> None:
    """Plans are kept with the network; none gets another's rule, parameter or LRN mode."""
    x = images(1)
    calls: list[dict[str, Any]] = [
        {"rule": "epsilon", "epsilon": 0.01},
        {"rule": "epsilon", "epsilon": 1.0},
        {"rule": "alphabeta", "beta": 0.0},
        {"rule": "alphabeta", "beta": 1.0},
        {"rule": "alphabeta", "beta": 1.0, "lrn": "identity"},
        {"rule": "alphabeta", "beta": 1.0, "lrn": "toolbox"},
        {"composite": "epsilon_plus", "layer": "m"},
        {"composite": "gradient"},
    ]
    used = [caffe2lrp.explain(network, x, 1, **options).relevance for options in calls]
    fresh = [caffe2lrp.explain(small(), x, 1, **options).relevance for options in calls]
    for i, (a, b) in enumerate(zip(used, fresh, strict=True)):
        np.testing.assert_array_equal(a, b)
        for other in used[:i]:
            assert np.abs(a - other).max() > 1e-6 * np.abs(a).max()


def test_bounds_of_the_pixels_may_change(network: Network) -> None:
    """z^B looks at the preprocessing; attaching another one must not leave the old bounds behind."""
    del network
    own, x = small(), images(1)
    results = []
    for mean in ((1.0, 2.0, 3.0), (120.0, 110.0, 100.0)):
        own.describe(preprocessing=Preprocessing(mean=mean))
        results.append(caffe2lrp.explain(own, x, 1, composite="epsilon_gamma_box").relevance)
    expected = small().describe(preprocessing=Preprocessing(mean=(120.0, 110.0, 100.0)))
    np.testing.assert_array_equal(
        results[1], caffe2lrp.explain(expected, x, 1, composite="epsilon_gamma_box").relevance
    )
    assert (results[0] != results[1]).any()


# -- types and copies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float32),
        (np.uint8, np.float32),
        (np.int64, np.float32),
        (bool, np.float32),
    ],
)
def test_precision_follows_the_input(network: Network, given: Any, expected: Any) -> None:
    x = np.abs(images(1) * 50).astype(given)
    e = caffe2lrp.explain(network, x, 1)
    blobs = network.forward(x, keep="all")
    assert {e.relevance.dtype, e.outputs.dtype, *(b.dtype for b in blobs.values())} == {np.dtype(expected)}
    assert_close(e.outputs, naive.forward(network, x.astype(np.float64))["f"], 1e-4)


def test_inputs_of_any_layout(network: Network) -> None:
    x = images(2)
    expected = caffe2lrp.explain(network, x).relevance
    layouts = [
        x.tolist(),
        np.asfortranarray(x),
        np.repeat(x, 2, axis=3)[..., ::2],
        np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    ]
    for given in layouts:
        np.testing.assert_array_equal(caffe2lrp.explain(network, given).relevance, expected)


def test_the_input_is_not_modified(network: Network) -> None:
    x = images(2)
    before = x.copy()
    x.flags.writeable = False
    caffe2lrp.explain(network, x)
    network.forward(x, keep="all")
    np.testing.assert_array_equal(x, before)


def test_results_are_copies(network: Network) -> None:
    """Later runs do not change an explanation, and changing it does not change later runs."""
    a, b = images(2)[:1], images(2)[1:]
    first, blobs = caffe2lrp.explain(network, a, 1), network.forward(a, keep="all")
    kept = {name: value.copy() for name, value in blobs.items()}
    relevance, outputs, score = first.relevance.copy(), first.outputs.copy(), first.score.copy()
    caffe2lrp.explain(network, b, 2)
    network.forward(b, keep="all")
    np.testing.assert_array_equal(first.relevance, relevance)
    np.testing.assert_array_equal(first.outputs, outputs)
    np.testing.assert_array_equal(first.score, score)
    for name, value in blobs.items():
        np.testing.assert_array_equal(value, kept[name])
        value[...] = 0
    first.relevance[...] = 7
    first.outputs[...] = 7
    np.testing.assert_array_equal(caffe2lrp.explain(network, a, 1).relevance, relevance)


def test_keep_names_blobs(network: Network) -> None:
    x = images(1)
    everything = network.forward(x, keep="all")
    assert list(network.forward(x)) == ["y"]
    assert list(network.forward(x, keep="c")) == ["c"]
    some = network.forward(x, keep=["r", "data"])
    assert list(some) == ["r", "data"]
    for name, value in some.items():
        np.testing.assert_array_equal(value, everything[name])
    with pytest.raises(OptionError, match="has no blob 'conv1'; its blobs are: data, c, r"):
        network.forward(x, keep=["conv1"])


# -- batches, sizes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_batches_are_their_images(network: Network, count: int) -> None:
    x = images(count)
    targets = [n % 6 for n in range(count)]
    e = caffe2lrp.explain(network, x, targets, rule="alphabeta", beta=1.0)
    y = network.forward(x)["y"]
    for n in range(count):
        alone = caffe2lrp.explain(network, x[n : n + 1], targets[n], rule="alphabeta", beta=1.0)
        assert_close(e.relevance[n], alone.relevance[0], 1e-11)
        assert_close(y[n], network.forward(x[n : n + 1])["y"][0], 1e-12)


def test_another_image_size() -> None:
    network = chain((1, 3, 8, 8), Convolution(4, (3, 3)), activation.ReLU(), Convolution(2, (1, 1)))
    big = network.with_input_shape((2, 3, 13, 10))
    assert big.shapes["y2"] == (2, 2, 11, 8)
    assert network.shapes["y2"] == (1, 2, 6, 6)
    x = random_input(big)
    expected = naive.forward(big, x)["y2"]
    for one in (big, network):  # a network fits itself to what it is given
        assert_close(one.forward(x)["y2"], expected, 1e-12)
    e = caffe2lrp.explain(network, x, [[17], [3]], layer="y2", rule="epsilon", epsilon=0.1)
    assert e.relevance.shape == x.shape
    # an output sees a window of 3 x 3: all other pixels get nothing
    seen = np.zeros(x.shape, bool)
    seen[0, :, 2:5, 1:4] = True  # output 17 is channel 0, row 2, column 1
    seen[1, :, 0:3, 3:6] = True
    assert (e.relevance[~seen] == 0).all()
    assert (e.relevance[seen] != 0).any()


def test_a_size_that_does_not_fit(network: Network) -> None:
    with pytest.raises(ModelError, match=r"fc.*stored weight"):
        network.forward(np.zeros((1, 3, 30, 30)))
    with pytest.raises(ModelError, match=r"stored weight|too small"):
        caffe2lrp.explain(network, np.zeros((1, 3, 2, 2)))


# -- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 4, 11, 9)), "takes 3 channels"),
        (np.zeros((3, 11, 9)), "4 axes"),
        (np.zeros((0, 3, 11, 9)), "empty batch"),
        (np.array(["cat"]), "array of numbers"),
        (np.zeros((1, 3, 11, 9), complex), "array of numbers"),
        (None, "array of numbers"),
    ],
)
@pytest.mark.parametrize("run", [caffe2lrp.explain, Network.forward])
def test_inputs_that_do_not_fit(network: Network, run: Callable[..., Any], x: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        run(network, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "epsilonn"}, "no rule 'epsilonn'; did you mean 'epsilon'"),
        ({"rule": "nonsense"}, "Known: epsilon"),
        ({"composite": "epsilon_plos"}, "did you mean 'epsilon_plus'"),
        ({"rule": "epsilon", "composite": "epsilon"}, "not both"),
        ({"rule": "epsilon", "beta": 1.0}, "does not take beta"),
        ({"rule": "epsilon", "epsilon": -1.0}, "at least 0"),
        ({"rule": "alphabeta", "beta": float("nan")}, "at least 0"),
        ({"rule": "gamma", "gamma": float("inf")}, "at least 0"),
        ({"beta": 1.0}, "parameters go with the name"),
        ({"lrn": "none"}, "lrn must be one of taylor, identity, toolbox"),
        ({"start": "two"}, "start must be"),
        ({"layer": "nowhere"}, "no blob or layer 'nowhere'"),
    ],
)
def test_options_that_do_not_fit(network: Network, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        caffe2lrp.explain(network, images(1), **options)


def test_starting_inside_a_softmax(network: Network) -> None:
    with pytest.raises(ModelError, match=r"through Softmax.*layer='f'"):
        caffe2lrp.explain(network, images(1), layer="prob")


def test_several_outputs_need_a_choice() -> None:
    network = build(
        {"data": (1, 2, 3, 3)},
        ("a", Convolution(2, (1, 1)), ["data"], ["left"]),
        ("b", Convolution(3, (3, 3)), ["data"], ["right"]),
    )
    with pytest.raises(ModelError, match=r"2 outputs; choose one with layer=\.\.\.: left, right"):
        caffe2lrp.explain(network, random_input(network))
    assert caffe2lrp.explain(network, random_input(network), layer="right").outputs.shape == (1, 3)
    assert set(network.forward(random_input(network))) == {"left", "right"}


def test_pixel_bounds_are_needed_by_zbox(network: Network) -> None:
    with pytest.raises(ModelError, match="preprocessing is not known"):
        caffe2lrp.explain(small(), images(1), composite="epsilon_gamma_box")
    described = small().describe(preprocessing=Preprocessing())
    with pytest.raises(ModelError, match="first layer"):
        caffe2lrp.explain(described, images(1), rule="zbox")


def test_a_merged_layer_is_no_place_to_start() -> None:
    network = chain((1, 2, 3, 3), Convolution(2, (1, 1)), batch_norm.BatchNorm(), affine.Scale())
    x = random_input(network)
    with pytest.raises(OptionError, match="'y0' is not there to start at"):
        caffe2lrp.explain(network, x, 0, layer="layer0")
    assert caffe2lrp.explain(network, x, 0, layer="layer2").outputs.shape == (1, 18)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rule", ["epsilon", "alphabeta", "flat"])
def test_not_a_number_neither_crashes_nor_hangs(network: Network, value: float, rule: str) -> None:
    x = images(2)
    x[0, 1, 5, 5] = value
    e = caffe2lrp.explain(network, x, [0, 1], rule=rule)
    clean = caffe2lrp.explain(network, images(2), [0, 1], rule=rule)
    assert_close(e.relevance[1], clean.relevance[1], 1e-12)  # the other image does not suffer
    everywhere = caffe2lrp.explain(network, np.full((1, 3, 11, 9), value), rule=rule)
    assert everywhere.relevance.shape == (1, 3, 11, 9)


# -- threads and processes ------------------------------------------------------------------------------------


def test_the_second_run_gives_the_same_bits(network: Network) -> None:
    for dtype in (np.float32, np.float64):
        x = images(3, dtype)
        a, b = (caffe2lrp.explain(network, x, rule="alphabeta") for _ in range(2))
        assert a.relevance.tobytes() == b.relevance.tobytes()
        assert network.forward(x)["y"].tobytes() == network.forward(x)["y"].tobytes()


@pytest.mark.parametrize("count", [1, 4])
def test_results_do_not_depend_on_the_number_of_threads(network: Network, count: int) -> None:
    """Each value is summed up by one thread, in one order: not a bit differs."""
    for dtype in (np.float32, np.float64):
        x = images(count, dtype)
        results = []
        for n in (1, 2, 3, 5, 2):
            team.set_threads(n)
            assert team.threads() == n
            relevance = [caffe2lrp.explain(network, x, rule=rule).relevance for rule in ("alphabeta", "epsilon")]
            results.append([network.forward(x)["y"], *relevance])
        for found in results[1:]:
            for array, first in zip(found, results[0], strict=True):
                assert array.tobytes() == first.tobytes()


def test_a_session_outlives_a_change_of_threads(network: Network) -> None:
    """Buffers are made for a number of threads: later more or fewer of them must neither overrun nor hang."""
    x = images(2)
    expected = caffe2lrp.explain(network, x, 1, rule="alphabeta").relevance
    for before, after in ((1, 4), (2, 3), (4, 1), (3, 2)):
        team.set_threads(before)
        session = caffe2lrp.Session(network, x)
        team.set_threads(after)
        e = session.explain(1, rule="alphabeta", layer="f")
        assert_close(e.relevance, expected, 1e-12)
        assert_close(network.forward(x)["y"], naive.forward(network, x)["y"], 1e-12)


def test_a_session_shares_what_does_not_depend_on_targets_and_weights_of_terms(network: Network) -> None:
    """One forward run; denominators once for all targets, and for alpha-beta with another beta."""
    network = network.with_layers(network.layers)  # without plans of other tests
    x = images(2)
    session = caffe2lrp.Session(network, x)
    plan = session._plan
    maps = [session.explain(t, rule="alphabeta", beta=b).relevance for b in (1.0, 2.0) for t in (0, 1)]
    runs = plan.runs
    kept = list(plan.derived.values())
    assert len(kept) == 2, "one for each of the two linear layers"
    assert all(derived.run == runs for derived in kept)
    for (b, t), got in zip([(b, t) for b in (1.0, 2.0) for t in (0, 1)], maps, strict=True):
        fresh = network.with_layers(network.layers)
        assert_same_map(caffe2lrp.explain(fresh, x, t, rule="alphabeta", beta=b).relevance, got)
    session.explain(1, rule="epsilon")
    assert plan.runs == runs
    other = caffe2lrp.Session(network, 2 * x)
    assert other._plan is plan, "asked before the rule is known"
    assert_same_map(
        other.explain(0, rule="alphabeta", beta=2.0).relevance,
        caffe2lrp.explain(network.with_layers(network.layers), 2 * x, 0, rule="alphabeta", beta=2.0).relevance,
    )
    assert plan.runs == runs + 1
    np.testing.assert_array_equal(session.explain(1, rule="alphabeta", beta=1.0).relevance, maps[1])


def test_a_forward_pass_for_alpha_beta_keeps_its_denominators(network: Network) -> None:
    """z+ and z- are formed on the way; other rules find the output that they add up to."""
    network = network.with_layers(network.layers)  # without plans of other tests
    x = images(2)
    session = caffe2lrp.Session(network, x)
    session.explain(0, rule="alphabeta", beta=1.0)
    assert session._plan.by_sign == {layer.name for layer in network.layers if layer.weights}
    kept = list(session._plan.derived.values())
    assert [len(derived.program) for derived in kept] == [0, 0], "nothing is left to compute"
    with session.values() as values:
        for blob, expected in naive.forward(network, x).items():
            assert_close(values[blob], expected, 1e-12)
    plain = caffe2lrp.Session(network, x)
    with plain.values():
        pass
    for rule in ("alphabeta", "epsilon", "zplus"):
        assert_same_map(session.explain(1, rule=rule).relevance, plain.explain(1, rule=rule).relevance)


def test_set_threads_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        team.set_threads(0)


def test_python_threads_at_once(network: Network) -> None:
    """Several threads that forward and explain the same and other networks get what one alone gets."""
    other = small(2)
    jobs: list[Callable[[], np.ndarray]] = []
    for i in range(4):
        x = images(8)[2 * i : 2 * i + 2]
        jobs += [
            lambda x=x: network.forward(x)["y"],
            lambda x=x: caffe2lrp.explain(network, x, [1, 2], rule="epsilon").relevance,
            lambda x=x: caffe2lrp.explain(other, x, [3, 4], rule="alphabeta").relevance,
            lambda x=x: other.forward(x.astype(np.float32), keep="m")["m"],
        ]
    expected = [job() for job in jobs]
    wrong: list[int] = []

    def work(first: int) -> None:
        for k in range(3 * len(jobs)):
            i = (first + k) % len(jobs)
            if not np.array_equal(jobs[i](), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(5 * t,), daemon=True) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    assert wrong == []


def test_python_threads_make_the_first_plan_together() -> None:
    fresh = small()
    x = images(1)
    expected = caffe2lrp.explain(small(), x, 1).relevance
    found: list[np.ndarray] = []
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        found.append(caffe2lrp.explain(fresh, x, 1).relevance)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    for relevance in found:
        np.testing.assert_array_equal(relevance, expected)


def _explain_in_child(queue: Any, network: Network, x: np.ndarray) -> None:
    queue.put(caffe2lrp.explain(network, x, 1).relevance)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_can_run(network: Network) -> None:
    x = images(1)
    expected = caffe2lrp.explain(network, x, 1).relevance  # the parent has its threads by now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_explain_in_child, args=(queue, network, x))
    child.start()
    try:
        np.testing.assert_array_equal(queue.get(timeout=60), expected)
        child.join(30)
        assert child.exitcode == 0
    finally:
        if child.is_alive():
            child.kill()
    np.testing.assert_array_equal(caffe2lrp.explain(network, x, 1).relevance, expected)
