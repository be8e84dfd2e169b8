"""Images that arrive together share a pass of the network, and nothing else."""

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
from web_service import Bright, disc

from delineate.checks import InputError
from delineate.inference.predictor import Predictor
from delineate.web.batching import Batcher


@pytest.fixture
def made():
    """Make batchers that are closed at the end; gives the batcher and the sizes that its backend saw."""
    batchers = []

    def make(seconds=0.0, **options):
        backend = Bright(seconds=seconds)
        batchers.append(Batcher(Predictor(backend), **options))
        return batchers[-1], backend.sizes

    yield make
    for batcher in batchers:
        batcher.close()


def picture(batcher, inside=220):
    return batcher.predictor.open(disc(inside=inside))


def hold(batcher):
    """Keep the worker busy until the event is set."""
    released, started = threading.Event(), threading.Event()

    def work():
        started.set()
        released.wait(5)

    batcher.call(work)
    started.wait(5)
    return released


def test_what_waits_together_is_predicted_together(made):
    seen = []
    batcher, sizes = made(max_batch=4, on_batch=seen.append)
    released = hold(batcher)
    futures = [batcher.submit(picture(batcher, 150 + i)) for i in range(7)]
    assert len(batcher) == 7
    released.set()
    results = [future.result(5) for future in futures]
    assert sizes == seen == [4, 3]
    for i, result in enumerate(results):
        alone = batcher.predictor(disc(inside=150 + i))
        np.testing.assert_array_equal(result.probability, alone.probability)


def test_a_real_network_answers_the_same_in_a_batch(network):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (s, 50, 3), dtype=np.uint8) for s in (20, 40, 64, 33, 90)]
    batcher = Batcher(network, max_batch=5)
    released = hold(batcher)
    futures = [batcher.submit(network.open(image)) for image in images]
    released.set()
    for image, future in zip(images, futures, strict=True):
        found, alone = future.result(20), network(image)
        assert found.probability.shape == image.shape[:2]
        np.testing.assert_allclose(found.probability, alone.probability, atol=1e-6)
        assert found.label == pytest.approx(alone.label, abs=1e-6)
    batcher.close()


def test_a_lonely_image_does_not_wait(made):
    batcher, _ = made(max_wait=1.0)
    start = time.monotonic()
    batcher.submit(picture(batcher)).result(5)
    assert time.monotonic() - start < 0.5


def test_images_wait_for_those_that_are_announced(made):
    batcher, sizes = made(max_wait=1.0)
    with batcher.expecting() as arrived:
        first = batcher.submit(picture(batcher))
        time.sleep(0.05)
        assert not first.done()
        second = batcher.submit(picture(batcher))
        arrived()
        first.result(5)
    second.result(5)
    assert sizes == [2]


def test_images_do_not_wait_longer_than_allowed(made):
    batcher, sizes = made(max_wait=0.05)
    with batcher.expecting():
        batcher.submit(picture(batcher)).result(5)
    assert sizes == [1]


def test_a_cancelled_image_is_never_predicted(made):
    batcher, sizes = made()
    released = hold(batcher)
    futures = [batcher.submit(picture(batcher)) for _ in range(3)]
    assert futures[1].cancel()
    released.set()
    futures[0].result(5)
    futures[2].result(5)
    assert sizes == [2]
    with pytest.raises(CancelledError):
        futures[1].result(1)


def test_one_bad_picture_does_not_harm_its_neighbours(made):
    batcher, sizes = made()
    released = hold(batcher)
    good = batcher.submit(picture(batcher))
    bad = batcher.submit(picture(batcher)._replace(pixels=np.zeros((3, 3), np.uint8)))
    other = batcher.submit(picture(batcher))
    released.set()
    np.testing.assert_array_equal(good.result(5).mask, other.result(5).mask)
    with pytest.raises(Exception, match=r"\S"):
        bad.result(5)
    assert sizes == [1, 1, 1]  # the batch of three never reached the network


def test_other_work_keeps_its_place(made):
    batcher, sizes = made()
    released = hold(batcher)
    order = []
    first = batcher.submit(picture(batcher))
    work = batcher.call(lambda: order.append(len(sizes)))
    last = batcher.submit(picture(batcher))
    failing = batcher.call(lambda: 1 / 0)
    released.set()
    first.result(5), work.result(5), last.result(5)
    assert order == [1]
    assert sizes == [1, 1]
    with pytest.raises(ZeroDivisionError):
        failing.result(5)


def test_closing_finishes_what_is_queued(made):
    batcher, _ = made(seconds=0.02, max_batch=1)
    futures = [batcher.submit(picture(batcher)) for _ in range(3)]
    batcher.close()
    assert all(future.done() for future in futures)
    with pytest.raises(InputError, match=r"The service is stopping; try again later\."):
        batcher.submit(picture(batcher))
