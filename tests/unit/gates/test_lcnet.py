from __future__ import annotations

import pytest
import torch
from torch import nn

from autogate.data import load_data
from autogate.gates import FAMILIES
from autogate.gates.lcnet import ChannelSelect, LayerGate, SkippedBlock
from autogate.policy import Gate, Policy
from autogate.sites import find_sites
from autogate.surgery import attach_gates, canonical, compact_form, training_form
from autogate.training import Recipe, train
from tests.support.family_suite import FamilySuite
from tests.support.networks import assert_close, images, known_network, lively_gates, own_copy

BLOCK, MAP = "block:layer1.1", "map:layer1.1.conv1"


class TestLcNet(FamilySuite):
    family = "lcnet"
    sites = {"resnet20": 16, "resnet50": 44, "vgg16_bn": 21, "mobilenet_v2": 12, "densenet40": 0}
    refused = [
        (BLOCK, {"tau": 0.0}, "tau must be in [0.01, 0.99], not 0"),
        (MAP, {"tau": 1.0}, "tau must be in [0.01, 0.99], not 1"),
        (BLOCK, {"target": 1.5}, "target must be in [0, 1], not 1.5"),
        (MAP, {"scale": "half"}, "scale must be one of score, 2score, none, not 'half'"),
        (MAP, {"reduction": 0}, "reduction must be in [1, 1024], not 0"),
    ]
    unfit = ("mobilenet_v2", "map:features.3.conv.0.0", "layers with per-channel weights stand between")

    def test_a_normalisation_without_statistics_cannot_be_folded(self) -> None:
        class Net(nn.Module):
            def __init__(self, tracks: bool) -> None:
                super().__init__()
                self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
                self.norm = nn.BatchNorm2d(8, track_running_stats=tracks)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.conv2(self.norm(self.conv1(x)).relu())

        fits = {tracks: find_sites(Net(tracks), (3, 8, 8)).sites["map:conv1"] for tracks in (True, False)}
        assert FAMILIES["lcnet"].unsupported_reason(fits[True]) is None
        assert "per-channel weights" in str(FAMILIES["lcnet"].unsupported_reason(fits[False]))

    def test_needs_a_producer(self) -> None:
        site = known_network("densenet40").sites["map:trans1.conv.input"]
        from autogate.gates import get_family

        assert "no single convolution writes the map" in str(get_family("lcnet").unsupported_reason(site))

    def test_open_gates_without_scale_equal_the_dense_network(self) -> None:
        network = known_network("resnet20")
        gate = Gate("lcnet", {"tau": 0.01, "scale": "none"})
        policy = canonical(Policy(dict.fromkeys(network.sites, gate)), network.sites)
        kinds = {network.sites[name].kind for name in policy.gates}
        assert kinds == {"block", "map"}
        gates = attach_gates(network, policy)
        form, compact = training_form(network, gates).eval(), compact_form(network, policy, gates)
        for batch in (1, 4):
            x = images(network, batch)
            with torch.no_grad():
                expected = network.model(x)
                assert_close(form(x), expected)
                assert_close(compact(x), expected)

    def test_scores_start_at_nine_tenths(self) -> None:
        network = known_network("resnet20")
        policy = canonical(Policy(dict.fromkeys((BLOCK, MAP), Gate("lcnet"))), network.sites)
        for gate in attach_gates(network, policy).values():
            scores = gate.predictor(torch.rand(8, 16, 32, 32)).sigmoid()
            assert ((scores > 0.75) & (scores < 0.97)).all()
            assert 0.85 < float(scores.mean()) < 0.95

    def test_channels_with_large_filters_start_further_from_closing(self) -> None:
        network = own_copy(known_network("resnet20"))
        network.model.get_submodule("layer1.1.conv1").weight.data[5] *= 100
        network.model.get_submodule("layer1.1.conv1").weight.data[9] *= 0.01
        gate = attach_gates(network, canonical(Policy({MAP: Gate("lcnet")}), network.sites))[MAP]
        bias = gate.predictor.score.bias
        assert (int(bias.argmax()), int(bias.argmin())) == (5, 9)

    @pytest.mark.e2e
    def test_channel_gates_reach_their_target_in_a_short_training(self) -> None:
        torch.manual_seed(0)
        network = own_copy(known_network("resnet20"))
        policy = canonical(Policy({MAP: Gate("lcnet", {"target": 0.5})}), network.sites)
        form = training_form(network, gates := attach_gates(network, policy))
        split = load_data("digits").train
        train(form, split, Recipe(images=1200, lr=0.01, batch_size=32), seed=0, device=torch.device("cpu"))
        assert 0.2 < float(gates[MAP].opening) < 0.8

    def test_outputs_are_scaled_by_the_score(self) -> None:
        network = known_network("resnet20")
        value, context = torch.rand(3, 16, 4, 4), torch.rand(3, 16, 4, 4)
        factors = {}
        for scale in ("none", "score", "2score"):
            policy = canonical(Policy({MAP: Gate("lcnet", {"tau": 0.01, "scale": scale})}), network.sites)
            gate = lively_gates(network, policy)[MAP].eval()
            factors[scale] = gate(value, context) / value
            score = gate.predictor(context).sigmoid()
        torch.testing.assert_close(factors["none"], torch.ones_like(value))
        torch.testing.assert_close(factors["score"][:, :, 0, 0], score)
        torch.testing.assert_close(factors["2score"], 2 * factors["score"])

    def test_a_shut_layer_gate_runs_nothing_of_its_block(self) -> None:
        network = known_network("resnet20")
        # A channel gate inside: its own network must not run either.
        policy = canonical(Policy({BLOCK: Gate("lcnet"), MAP: Gate("lcnet")}), network.sites)
        gates = lively_gates(network, policy)
        compact = compact_form(network, policy, shut(gates, BLOCK))
        block = next(module for module in compact.modules() if isinstance(module, SkippedBlock))
        assert any(isinstance(module, ChannelSelect) for module in block.branch.modules())
        calls = counted(block.branch)
        for batch in (1, 5):
            with torch.no_grad():
                compact(images(network, batch))
        assert calls == []
        dropped = compact_form(
            network, dropped_policy := Policy({BLOCK: Gate("drop")}), attach_gates(network, dropped_policy)
        )
        x = images(network, 2)
        with torch.no_grad():
            assert_close(compact(x), dropped(x))

    def test_a_batch_runs_only_its_open_images(self) -> None:
        network = known_network("resnet20")
        policy = canonical(Policy({BLOCK: Gate("lcnet")}), network.sites)
        gates = lively_gates(network, policy)
        gate = gates[BLOCK]
        x = images(network, 16)
        scores: list[torch.Tensor] = []
        gate.predictor.register_forward_hook(lambda _, args, result: scores.append(result.sigmoid()))
        with torch.no_grad():
            training_form(network, gates).eval()(x)
        gate.tau = float(scores[0].median() + scores[0].max()) / 2
        compact = compact_form(network, policy, gates)
        block = next(module for module in compact.modules() if isinstance(module, SkippedBlock))
        sizes: list[int] = []
        block.branch.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
        with torch.no_grad():
            compact(x)
            training_form(network, gates).eval()(x)
        opened = int(gate.decision.sum())
        assert 0 < opened < 16
        assert sizes == [opened]

    @pytest.mark.parametrize("batch", [1, 4])
    def test_a_channel_gate_computes_only_open_channels(self, batch: int) -> None:
        network = known_network("resnet20")
        policy = canonical(Policy({MAP: Gate("lcnet", {"tau": 0.9})}), network.sites)
        gates = lively_gates(network, policy)
        compact = compact_form(network, policy, gates)
        select = next(module for module in compact.modules() if isinstance(module, ChannelSelect))
        chosen: list[torch.Tensor] = []
        select.register_forward_hook(lambda _, args, result: chosen.append(result[0]))
        widths: list[int] = []
        compact.get_submodule("layer1.1.conv2").register_forward_pre_hook(
            lambda _, args: widths.append(args[0].shape[1])
        )
        x = images(network, batch)
        with torch.no_grad():
            compact(x)
            training_form(network, gates).eval()(x)
        assert widths == [len(chosen[0])]
        if batch == 1:
            assert 0 < widths[0] < 16
            assert gates[MAP].decision.tolist() == widths

    def test_no_open_channel_at_all(self) -> None:
        network = known_network("resnet20")
        policy = canonical(Policy({MAP: Gate("lcnet")}), network.sites)
        gates = shut(attach_gates(network, policy), MAP)
        form, compact = training_form(network, gates).eval(), compact_form(network, policy, gates)
        for batch in (1, 3):
            x = images(network, batch)
            with torch.no_grad():
                assert_close(compact(x), form(x))
        assert gates[MAP].decision.tolist() == [0, 0, 0]

    @pytest.mark.parametrize("estimator", ["ste", "gumbel", "semhash"])
    def test_training_pulls_the_opening_towards_its_target(self, estimator: str) -> None:
        network = known_network("resnet20")
        policy = Policy({BLOCK: Gate("lcnet", {"target": 0.25})}, {"estimator.lcnet": estimator})
        torch.manual_seed(0)
        gate = attach_gates(network, canonical(policy, network.sites))[BLOCK].train()
        assert isinstance(gate, LayerGate)
        optimiser = torch.optim.SGD(gate.parameters(), lr=0.01)
        value = torch.zeros(256, 16, 4, 4)
        context = (5 * torch.randn(256, 16, 1, 1)).relu().expand(256, 16, 4, 4)
        openings = []
        for step in range(400):
            gate.set_progress(step / 400)
            gate(value, context)
            loss = gate.joint_loss([gate])
            if loss is None:
                continue
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            openings.append(float(gate.opening.detach()))
        assert len(openings) == 360  # for a tenth of the training the gate is held open
        assert openings[0] > 0.6
        assert abs(sum(openings[-50:]) / 50 - 0.25) < 0.15
        # What evaluation opens is what training opened.
        gate.eval()(value, context)
        assert abs(float(gate.decision.float().mean()) - 0.25) < 0.2

    def test_gates_are_held_open_at_first(self) -> None:
        network = known_network("resnet20")
        gates = shut(
            attach_gates(network, canonical(Policy({MAP: Gate("lcnet", {"scale": "none"})}), network.sites)), MAP
        )
        gate, value = gates[MAP].train(), torch.rand(4, 16, 4, 4)
        gate.set_progress(0.05)
        assert torch.equal(gate(value, value), value)
        assert gate.joint_loss([gate]) is None
        gate.set_progress(0.5)
        assert not gate(value, value).any()
        assert gate.joint_loss([gate]) > 0

    def test_the_cost_of_all_gates_together_meets_the_target(self) -> None:
        network = known_network("resnet20")
        places = ("block:layer1.1", "block:layer3.1")
        policy = canonical(Policy(dict.fromkeys(places, Gate("lcnet", {"target": 0.5}))), network.sites)
        gates = [gate.train() for gate in attach_gates(network, policy).values()]
        gates[0].opening, gates[1].opening = torch.tensor(1.0), torch.tensor(0.0)
        macs = [network.sites[name].macs for name in places]
        share = macs[0] / sum(macs)
        for gate in gates:
            gate.set_progress(1.0)  # no bounds any more
        assert float(gates[0].joint_loss(gates)) == pytest.approx(10 * (share - 0.5) ** 2, abs=1e-7)


def shut(gates: dict[str, nn.Module], site: str) -> dict[str, nn.Module]:
    """Close the gate at ``site`` for every input."""
    score = gates[site].predictor.score
    with torch.no_grad():
        score.weight.zero_()
        score.bias.fill_(-10.0)
    return gates


def counted(module: nn.Module) -> list[str]:
    """Return a list that grows by a name whenever a part of ``module`` is called."""
    calls: list[str] = []
    for name, part in module.named_modules():
        part.register_forward_pre_hook(lambda _, args, name=name: calls.append(name))
    return calls
