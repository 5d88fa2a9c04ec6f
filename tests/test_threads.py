"""Threads that share one smoothed classifier: each gets the votes that it would get alone."""

import json
import logging
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import noiseproof as npf
from noiseproof.classifiers.precision import quiet
from noiseproof.classifiers.runners import in_evaluation_mode
from noiseproof.noises import Gaussian

THREADS = 8
IMAGES = np.random.default_rng(0).random((24, 1, 8, 8), dtype=np.float32)


def network() -> nn.Module:
    """A network whose output depends on its mode, never put into evaluation mode, with one part that is frozen in it."""
    torch.manual_seed(3)
    made = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.BatchNorm1d(288),
        nn.Dropout(),
        nn.Linear(288, 10),
    )
    made(torch.rand(64, 1, 8, 8))  # batch statistics of its own
    made[4].eval()
    return made


def modes(module: nn.Module) -> list[bool]:
    return [part.training for part in module.modules()]


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Run all calls in threads that begin together."""
    begin = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        begin.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.parametrize("begun", [False, True], ids=["first calls", "after a call"])
def test_threads_get_the_votes_that_each_gets_alone(begun: bool) -> None:
    module = network()
    before = modes(module)
    shared = npf.SmoothedClassifier(module, Gaussian(0.3), 10)
    if begun:
        shared.count(IMAGES[:1], samples=10)

    def calls(smoothed: Callable[[], npf.SmoothedClassifier]) -> list[Callable[[], Any]]:
        rule = npf.CertifyRadii([0.1, 0.3], max_samples=2_000)
        parts = [(IMAGES[i::THREADS], range(i, len(IMAGES), THREADS)) for i in range(THREADS)]
        return [
            *(lambda x=x, ids=ids: smoothed().certify(x, samples=700, indices=ids).votes for x, ids in parts),
            *(lambda x=x, ids=ids: smoothed().certify(x, stop=rule, indices=ids).votes for x, ids in parts),
            *(lambda x=x, ids=ids: smoothed().predict(torch.as_tensor(x), indices=ids) for x, ids in parts),
        ]

    together = at_once(calls(lambda: shared))
    assert modes(module) == before
    alone = [call() for call in calls(lambda: npf.SmoothedClassifier(network(), Gaussian(0.3), 10))]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({int(label) for votes in alone[:THREADS] for label in votes.argmax(1)}) > 1


class _Server(BaseHTTPRequestHandler):
    smoothed: npf.SmoothedClassifier

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        image = np.array(asked["image"], dtype=np.float32)
        found = self.smoothed.certify(image[None], samples=400, indices=[asked["index"]])
        answer = {"votes": found.votes[0].tolist(), "radius": float(found.radius[0])}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


class _Queueing(ThreadingHTTPServer):
    request_queue_size = 64


@contextmanager
def serving(smoothed: npf.SmoothedClassifier) -> Iterator[str]:
    handler = type("Handler", (_Server,), {"smoothed": smoothed})
    with _Queueing(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_threaded_server_answers_with_the_votes_of_one_call() -> None:
    def ask(address: str, index: int) -> dict[str, Any]:
        body = json.dumps({"image": IMAGES[index].tolist(), "index": index}).encode()
        with urllib.request.urlopen(urllib.request.Request(address, data=body), timeout=60) as answer:
            return dict(json.load(answer))

    with serving(npf.SmoothedClassifier(network(), Gaussian(0.3), 10)) as address:
        answers = at_once([lambda i=i: ask(address, i) for i in range(len(IMAGES))])
    whole = npf.SmoothedClassifier(network(), Gaussian(0.3), 10).certify(IMAGES, samples=400)
    np.testing.assert_array_equal([answer["votes"] for answer in answers], whole.votes)
    np.testing.assert_array_equal([answer["radius"] for answer in answers], whole.radius)


def test_a_training_goes_on_between_certifications() -> None:
    """The optimiser's steps are seen, and neither changes the other's mode."""
    module = network()
    smoothed = npf.SmoothedClassifier(module, Gaussian(0.3), 10)
    first = smoothed.count(IMAGES, samples=50)
    with torch.no_grad():
        module[-1].weight.neg_()
        module[-1].bias.neg_()
    module(torch.rand(64, 1, 8, 8))  # moves the running statistics
    assert module.training
    second = smoothed.count(IMAGES, samples=50)
    fresh = npf.SmoothedClassifier(module, Gaussian(0.3), 10).count(IMAGES, samples=50)
    assert (first != second).any()
    np.testing.assert_array_equal(second, fresh)


def test_a_network_in_evaluation_mode_shares_its_weights() -> None:
    module = network()
    twin = in_evaluation_mode(module)
    assert not any(modes(twin))
    assert type(twin) is type(module)
    assert [name for name, _ in twin.named_modules()] == [name for name, _ in module.named_modules()]
    pairs = zip(twin.state_dict().values(), module.state_dict().values(), strict=True)
    assert all(one.data_ptr() == other.data_ptr() for one, other in pairs)


def test_tied_submodules_stay_tied() -> None:
    layer = nn.Linear(4, 4)
    twin = in_evaluation_mode(nn.ModuleList([layer, layer]))
    assert twin[0] is twin[1]
    assert twin[0] is not layer


class _FrozenStatistics(nn.BatchNorm1d):
    """Overrides `train` to stay in training mode, as Monte Carlo dropout does."""

    def train(self, mode: bool = True) -> "_FrozenStatistics":
        return super().train(mode=True)


def test_a_train_method_of_ones_own_is_called() -> None:
    assert in_evaluation_mode(nn.Sequential(_FrozenStatistics(3)))[0].training


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_scripted_and_exported_networks_run_in_evaluation_mode() -> None:
    module = network()
    expected = npf.SmoothedClassifier(module, Gaussian(0.3), 10).count(IMAGES, samples=50)
    scripted = torch.jit.script(module)
    exported = torch.export.export(network().eval(), (torch.rand(32, 1, 8, 8),)).module()
    np.testing.assert_array_equal(
        npf.SmoothedClassifier(scripted, Gaussian(0.3), 10).count(IMAGES, samples=50), expected
    )
    assert scripted.training
    votes = npf.SmoothedClassifier(exported, Gaussian(0.3), 10, batch_size=32).count(IMAGES, samples=50)
    np.testing.assert_array_equal(votes, expected)


def test_messages_are_not_suppressed_for_good_by_two_threads() -> None:
    """The second thread would restore what the first had set, were it let in."""
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with quiet():
            entered.set()
            leave.wait()

    def second() -> None:
        entered.wait()
        with quiet():
            done.wait(0.2)

    done = threading.Event()
    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    entered.wait()
    done.wait(0.1)
    leave.set()
    for thread in threads:
        thread.join()
    assert logging.root.manager.disable == logging.NOTSET
