"""What is changed in place is changed under every name it has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from autogate.errors import ModelError
from autogate.policy import DENSE
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, compact_form, training_form
from tests.support.networks import assert_close, images, lively, network_of

Body = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """A stem, a body written as a test likes it, and a head."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        for i in (1, 2):
            self.add_module(f"conv{i}", nn.Conv2d(8, 8, 3, padding=1))
            self.add_module(f"bn{i}", nn.BatchNorm2d(8))
        self.relu, self.leaky, self.same = nn.ReLU(inplace=True), nn.LeakyReLU(0.2, inplace=True), nn.Identity()
        self.head = nn.Linear(8, 4)
        self.body = body

    def branch(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self, self.stem(x)).mean((2, 3)))


def add_as_statement(net: Net, x: Tensor) -> Tensor:
    y = net.branch(x)
    y.add_(x)
    return y.relu()


def module_as_statement(net: Net, x: Tensor) -> Tensor:
    net.relu(x)
    return net.relu(x + net.branch(x))


def module_without_a_function(net: Net, x: Tensor) -> Tensor:
    net.leaky(x)
    return x + net.branch(x)


def function_as_statement(net: Net, x: Tensor) -> Tensor:
    y = net.bn1(net.conv1(x))
    F.relu_(y)
    return x + net.bn2(net.conv2(y))


def flag_by_position(net: Net, x: Tensor) -> Tensor:
    y = net.bn1(net.conv1(x))
    F.leaky_relu(y, 0.3, True)
    return x + net.bn2(net.conv2(y))


def another_name(net: Net, x: Tensor) -> Tensor:
    identity = x
    return identity + net.bn2(net.conv2(net.relu(net.bn1(net.conv1(net.relu(x))))))


def another_name_by_a_module(net: Net, x: Tensor) -> Tensor:
    identity = net.same(x)
    return identity + net.conv2(net.relu(x))


def sum_under_another_name(net: Net, x: Tensor) -> Tensor:
    y = net.branch(x)
    early = y
    y += x
    return net.conv2(y.relu()) + early


def product_under_another_name(net: Net, x: Tensor) -> Tensor:
    early = x
    x *= 0.5
    x -= 0.1
    return net.branch(early) + x


def several_in_a_row(net: Net, x: Tensor) -> Tensor:
    y = net.conv1(x)
    y.mul_(2).clamp_(max=1)
    y.relu_()
    y.masked_fill_(y > 0.5, 0.25)
    return net.conv2(y) + x


def filled(net: Net, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y.copy_(x)
    y.mul_(2)
    return net.branch(x) + y


def numbers_are_no_tensors(net: Net, x: Tensor) -> Tensor:
    n = x.size(1)
    before = n
    n += 1
    return net.branch(x) * before + n


FAITHFUL = [
    add_as_statement,
    module_as_statement,
    module_without_a_function,
    function_as_statement,
    flag_by_position,
    another_name,
    another_name_by_a_module,
    sum_under_another_name,
    product_under_another_name,
    several_in_a_row,
    filled,
    numbers_are_no_tensors,
]


def assert_faithful(network: Network) -> None:
    x = images(network, 3)
    with torch.no_grad():
        expected = network.model(x.clone())
        graph = fx.GraphModule(network.model, network.graph).eval()
        form = training_form(network, attach_gates(network, DENSE)).eval()
        for found in (graph, form, compact_form(network, DENSE, {})):
            assert_close(found(x.clone()), expected)


@pytest.mark.parametrize("body", FAITHFUL, ids=lambda body: body.__name__)
def test_a_trace_does_what_the_network_does(body: Body) -> None:
    assert_faithful(network_of(Net(body), 8))


@pytest.mark.parametrize("body", [add_as_statement, module_as_statement, another_name, another_name_by_a_module])
def test_residual_units_are_seen_behind_it(body: Body) -> None:
    network = network_of(Net(body), 8)
    assert [site.residual for site in network.sites.values() if site.kind == "block"] == [True]


def a_view(net: Net, x: Tensor) -> Tensor:
    x[:, :4].mul_(2)
    return net.branch(x)


def a_view_made_before(net: Net, x: Tensor) -> Tensor:
    flat = x.flatten(2)
    net.relu(x)
    return net.branch(x) + flat.view_as(x)


@pytest.mark.parametrize("body", [a_view, a_view_made_before])
def test_what_a_graph_cannot_show_is_refused_in_one_line(body: Body) -> None:
    net = lively(Net(body)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ModelError, match=r"tracing changes the results of Net, by ") as e:
        find_sites(net, (3, 8, 8))
    assert "avoid in-place operations" in str(e.value)
    assert "\n" not in str(e.value)
    assert net.training
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_a_network_that_cannot_be_copied_is_refused_in_one_line() -> None:
    net = Net(module_as_statement)
    net.kept = net.stem(torch.rand(1, 3, 8, 8))
    with pytest.raises(ModelError, match="Net cannot be copied: Only Tensors created explicitly"):
        find_sites(net, (3, 8, 8))


class Counting(nn.Module):
    """Keeps a mean of its own, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.lerp_(x.mean((0, 2, 3)), 0.5)
        return x


class CountingInTraining(Counting):
    """Keeps a mean of its own, in training only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else x


def test_buffers_that_are_written_in_training_only_are_written_then() -> None:
    net = lively(Net(lambda net, x: x + net.branch(net.counting(x))))
    net.counting = CountingInTraining()
    form = training_form(find_sites(net, (3, 8, 8)), {})
    for training in (False, True):
        before = net.counting.mean.clone()
        form.train(training)(torch.rand(2, 3, 8, 8))
        assert torch.equal(before, net.counting.mean) is not training


@pytest.mark.parametrize("gates", ["training_form", "compact_form"])
def test_buffers_are_still_written(gates: str) -> None:
    net = lively(Net(lambda net, x: x + net.branch(net.counting(x))))
    net.counting = Counting()
    network = find_sites(net, (3, 8, 8))
    form = training_form(network, {}) if gates == "training_form" else compact_form(network, DENSE, {})
    # An edit removes what nobody reads.
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        before = {name: buffer.clone() for name, buffer in form.named_buffers() if "mean" in name}
        form(x)
    changed = [
        name for name, buffer in form.named_buffers() if name in before and not torch.equal(before[name], buffer)
    ]
    assert changed == ["counting.mean"]
