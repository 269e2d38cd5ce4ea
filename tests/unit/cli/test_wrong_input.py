"""Wrong input gives one clear line, exit code 2, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image

from autogate.models import load_model
from tests.support.commands import SEARCH, Refused


def yaml_file(text: str, name: str = "mine.yaml") -> Path:
    path = Path.cwd() / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("budget", "complaint"),
    [
        ("5", "has no unit; write it like 5ms, 800us, 60% or 0.6x"),
        ("0.6", "has no unit"),
        ("-5ms", "must be above zero"),
        ("0ms", "must be above zero"),
        ("0%", "must be above zero"),
        ("5m", "unknown unit 'm'"),
        ("5 parsecs", "unknown unit 'parsecs'"),
        ("fast", "is not a number with a unit"),
    ],
)
def test_budgets(refused: Refused, budget: str, complaint: str) -> None:
    line = refused("search", "--latency-budget", budget)
    assert complaint in line
    assert repr(budget) in line


@pytest.mark.parametrize(
    ("flag", "budget", "complaint"),
    [
        ("--memory-budget", "200", "has no unit; write it like 200MiB, 512MB, 60% or 0.6x"),
        ("--memory-budget", "5ms", "unknown unit 'ms'"),
        ("--memory-budget", "-1MiB", "must be above zero"),
        ("--energy-budget", "0.5", "has no unit; write it like 0.5J, 80mJ, 70% or 0.7x"),
        ("--energy-budget", "5W", "unknown unit 'W'"),
        ("--energy-budget", "70%", "needs a GPU with an energy counter, and cpu has none; leave it out"),
    ],
)
def test_further_budgets(refused: Refused, flag: str, budget: str, complaint: str) -> None:
    assert complaint in refused(*SEARCH, "--device", "cpu", flag, budget)
    assert complaint in refused(*SEARCH, "--device", "cpu", flag, budget, "--dry-run")


@pytest.mark.parametrize("goal", [(), ("--max-drop", "1%", "--pareto"), ("--latency-budget", "5ms", "--pareto")])
def test_one_goal(refused: Refused, goal: tuple[str, ...]) -> None:
    assert "give exactly one of --latency-budget 5ms, --max-drop 0.5% and --pareto" in refused("search", *goal)


@pytest.mark.parametrize("drop", ["0.5", "-1%", "1ms", "0%"])
def test_drops(refused: Refused, drop: str) -> None:
    assert "0.5%" in refused("search", "--max-drop", drop)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--model", "resnet21"), "unknown model 'resnet21'; did you mean "),
        (("--model", "timm:resnet"), "timm"),
        (("--model", "no.such.package:build"), "cannot import 'no.such.package'"),
        (("--data", "digit"), "unknown data 'digit'; did you mean digits"),
        (("--data", "./nowhere"), "the data directory ./nowhere does not exist"),
        (("--data", "cifar10"), "--download"),
        (("--space", "unifid"), "no search space 'unifid'"),
        (("--space", "absent.yaml"), "no search space 'absent.yaml'"),
        (("--device", "gpu"), "unknown device 'gpu'; write cpu or cuda:0"),
        (("--train-device", "tpu:0"), "tpu:0"),
        (("--layout", "nchw"), "--layout must be auto, contiguous or channels_last, not 'nchw'"),
        (("--dtype", "float8"), "unknown dtype 'float8'"),
        (("--latency-stat", "p99"), "--latency-stat must be mean, p50, p95 or max, not 'p99'"),
        (("--weights", "absent.safetensors"), "weights file absent.safetensors does not exist"),
        (("--weights", "DEFAULT"), "there are no published weights for 'resnet20'; pass the path of a weights file"),
        (("--memory-limit", "2"), "--memory-limit: memory size '2' has no unit"),
        (("--timeout", "10"), "--timeout: duration '10' has no unit; write it like 90s, 5m or 2h"),
        (("--timeout", "0s"), "must be above zero"),
        (("--mean", "0.5,0.5"), "there are 2 means and 3 standard deviations; give --mean and --std alike"),
        (("--mean", "0.5,0.4", "--std", "1,1"), "the images of digits have 3 channels here, and mean and standard"),
        (("--std", "a,b,c"), "--std: 'a,b,c' must be numbers"),
        (("--input-size", "32x"), "--input-size must be a whole number, or height and width such as 224x160, not"),
        (("--output", "1"), "the network returns a single tensor, and nothing called '1'; leave --output out"),
        (("--std", "0.5,0.5,0"), "each number of --std must be above zero, not 0"),
        (("--profile", "absent.jsonl"), "cannot read profile absent.jsonl"),
        (("--config", "absent.yaml"), "cannot read absent.yaml"),
        (("--storage", "somewhere"), "storage URL is not valid"),
        (("--storage", "mysql://me@host/studies"), "studies are stored in SQLite or PostgreSQL"),
        (("--artifacts", "s3://key:secret@bucket"), "--artifacts must hold no password"),
        (("--batch-size", "many"), "--batch-size must be a whole number, not 'many'; see autogate search --help"),
        (("--lr", "fast"), "--lr must be a number, not 'fast'; see autogate search --help"),
        (("--epochs",), "Option '--epochs' requires an argument; see autogate search --help"),
        (("--colour", "red"), "--colour"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options(refused: Refused, options: tuple[str, ...], complaint: str) -> None:
    assert complaint in refused(*SEARCH, *options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("option", ["--device", "--train-device"])
def test_cuda_where_there_is_none(refused: Refused, option: str) -> None:
    assert "cuda:0 was asked for, but torch finds no CUDA device; use --device cpu" in refused(
        *SEARCH, option, "cuda:0"
    )


@pytest.mark.parametrize(
    "option",
    ["--batch-size", "--threads", "--trials", "--trainings", "--finalists", "--epochs", "--lr", "--input-size"],
)
@pytest.mark.parametrize("value", ["0", "-3"])
def test_counts(refused: Refused, option: str, value: str) -> None:
    line = refused(*SEARCH, option, value)
    assert f"{option.removeprefix('--')} must be above zero, not {value}" in line


@pytest.mark.parametrize("option", ["--dry-run", "--format=json"])
def test_the_same_with_other_output(refused: Refused, option: str) -> None:
    assert "unknown model 'resnet21'" in refused(*SEARCH, "--model", "resnet21", option)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "schema: autogate.space/1\nsites: {block: [{family: dorp}]}",
            "unknown gate family 'dorp'; did you mean drop",
        ),
        ("schema: autogate.space/1\nsites: {block: [{family: drop}]}\ncolour: red", "mine.yaml: colour"),
        (
            "schema: autogate.space/1\nsites: {map: [{family: magnitude, genes: {ratio: [1.5]}}]}",
            "ratio must be in [0, 0.97], not 1.5",
        ),
        (
            "schema: autogate.space/1\nsites: {map: [{family: magnitude, genes: {ratoi: [0.5]}}]}",
            "unknown gene 'ratoi'",
        ),
        (
            "schema: autogate.space/1\nsites: {block: [{family: drop}]}\ntraining: {targeted_dropout: [2.0]}",
            "targeted_dropout must be in [0, 1], not 2",
        ),
        (
            "schema: autogate.space/1\nsites: {block: [{family: drop}]}\ntraining: {dropout: [0.5]}",
            "unknown training knob 'dropout'; known: targeted_dropout",
        ),
        ("schema: autogate.space/2\nsites: {block: [{family: drop}]}", "mine.yaml: schema"),
        ("sites: [", "cannot read search space"),
        ("", "mine.yaml"),
        ("schema: autogate.space/1\nsites: {}", "no gate of this search space fits"),
    ],
)
def test_spaces(refused: Refused, text: str, complaint: str) -> None:
    assert complaint in refused(*SEARCH, "--space", yaml_file(text))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour: red", "mine.yaml: unknown option 'colour'; see autogate search --help"),
        ("bach_size: 8", "mine.yaml: unknown option 'bach_size'; did you mean batch_size?"),
        ("- model", "must hold options"),
        ("model: [", "cannot read"),
        ("latency_budget: 5", "latency_budget must be a text, not 5; put it in quotes"),
        ("latency_stat: p99", "--latency-stat must be mean, p50, p95 or max, not 'p99'"),
        ("model: 5", "model"),
        ("data: 5", "data"),
        ("space: 5", "space"),
        ("storage: 5", "storage"),
        ("mean: [0.5, 0.5, 0.5]", "mean must be a text, not [0.5, 0.5, 0.5]; put it in quotes"),
        ("batch_size: many", "--batch-size must be a whole number, not 'many'"),
        ("trials: 0", "trials must be above zero"),
        ("timeout: '30'", "duration '30' has no unit"),
        ("weights: 5", "weights"),
    ],
)
def test_configuration_files(refused: Refused, text: str, complaint: str) -> None:
    path = yaml_file(text)
    goal = () if text.startswith("latency_budget") else ("--latency-budget", "60%")
    line = refused("search", *goal, "--config", path)
    assert complaint in line


def save(path: Path, state: dict[str, torch.Tensor]) -> Path:
    safetensors.torch.save_file(state, str(path))
    return path


@pytest.mark.e2e
def test_weights(refused: Refused) -> None:
    state = load_model("resnet20").module.state_dict()
    whole = save(Path("whole.safetensors"), state)
    cut = Path("cut.safetensors")
    cut.write_bytes(whole.read_bytes()[:5000])
    assert "cut.safetensors" in refused(*SEARCH, "--weights", cut)
    foreign = save(Path("foreign.safetensors"), {f"backbone.{key}.old": value for key, value in state.items()})
    line = refused(*SEARCH, "--weights", foreign)
    assert "foreign.safetensors" in line
    assert "all names begin with 'backbone.'" in line
    line = refused(*SEARCH, "--weights", whole, "--model", "resnet56")
    assert "layer1.3.conv1.weight" in line
    pickled = Path("pickled.pt")
    torch.save(load_model("resnet20").module, pickled)
    assert "pickled Python objects" in refused(*SEARCH, "--weights", pickled)
    hundred = save(Path("hundred.safetensors"), load_model("resnet20", num_classes=100).module.state_dict())
    assert "a head for 100 classes, not 10; ask for a new head (--new-head)" in refused(*SEARCH, "--weights", hundred)


def image_folder(classes: int = 2, images: int = 4) -> Path:
    root = Path("images")
    for split in ("train", "test"):
        for label in range(classes):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(images):
                Image.new("RGB", (32, 32), (40 * i, 60 * label, 0)).save(folder / f"{i}.png")
    return root


def test_image_folders(refused: Refused, tmp_path: Path) -> None:
    empty = Path("empty")
    empty.mkdir()
    assert "empty has no train folder" in refused(*SEARCH, "--data", empty)
    root = image_folder()
    broken = root / "train" / "class1" / "2.png"
    broken.write_bytes(broken.read_bytes()[:40])
    assert f"cannot read the image {broken}" in refused(*SEARCH, "--data", root)
    for path in sorted((root / "train" / "class1").iterdir()):
        path.unlink()
    assert "class1 holds no images" in refused(*SEARCH, "--data", root)
    (root / "train" / "class1").rmdir()
    assert "has only the class 'class0'; add a second class" in refused(*SEARCH, "--data", root)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (("sites", "--model", "resnet21"), "unknown model 'resnet21'"),
        (("sites", "--input-size", "0"), "input"),
        (("sites", "--input-size", "-5"), "input"),
        (("sites", "--num-classes", "0"), "class"),
        (("sites", "--model", "vgg16_bn_cifar", "--input-size", "4"), "--input-size"),
        (("profile", "--model", "resnet21"), "unknown model 'resnet21'"),
        (("profile", "--time", "40"), "duration '40' has no unit"),
        (("profile", "--batch-size", "0"), "batch-size must be above zero"),
        (("profile", "--space", "unifid"), "no search space 'unifid'"),
        (("profile", "--device", "gpu"), "unknown device 'gpu'"),
        (("profile", "--device", "cpu", "--lock-clocks"), "the clocks of cpu cannot be locked"),
        (("profile", "--threads", "100000"), "--threads 100000 needs as many cores, and this process may use"),
        (("profile", "--batch-size", "100000000"), "batch-size must be at most 65536"),
        (("profile", "validate", "absent.jsonl"), "cannot read profile absent.jsonl"),
        (("measure", "nowhere"), "nowhere is not an export"),
        (("measure", "."), ". is not an export: report.json is missing"),
        (("measure", ".", "--time", "0s"), "must be above zero"),
        (("measure", ".", "--latency-stat", "p99"), "--latency-stat must be mean, p50, p95 or max, not 'p99'"),
        (("resume", "first", "--layout", "nchw"), "--layout must be auto, contiguous or channels_last, not 'nchw'"),
        (
            ("replay", "first", "--name", "again", "--sampler", "grid"),
            "--sampler must be tpe, random, gp, nsgaii or package.module:factory, not 'grid'",
        ),
        (("sensitivity", "--family", "drop", "--std", "1,x"), "--std: '1,x' must be numbers"),
        (("show",), "Missing argument 'study'; see autogate show --help"),
        (("studies", "show"), "Missing argument 'study'; see autogate studies show --help"),
        (("search", "--colour", "red"), "; see autogate search --help"),
        (("serach",), "No such command 'serach'. Did you mean 'search'? See autogate --help"),
        (
            ("show", "first", "--format", "xml"),
            "--format: 'xml' is not one of 'table', 'json'; see autogate show",
        ),
        (("studies", "list", "--storage"), "requires an argument; see autogate studies list --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_other_commands(refused: Refused, command: tuple[str, ...], complaint: str) -> None:
    assert complaint in refused(*command)


def test_damaged_exports(refused: Refused) -> None:
    folder = Path("out")
    folder.mkdir()
    for name, text in (("report.json", "{"), ("policy.json", "{}")):
        (folder / name).write_text(text, encoding="utf-8")
    assert "out is damaged" in refused("measure", folder)
    (folder / "report.json").write_text("{}", encoding="utf-8")
    assert "schema" in refused("measure", folder)


def test_networks_without_a_site_or_a_graph(refused: Refused) -> None:
    Path("mynets.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, branch):\n"
        "        super().__init__()\n"
        "        self.branch = branch\n"
        "        self.head = torch.nn.Linear(3072, 10)\n"
        "    def forward(self, x):\n"
        "        if self.branch and x.sum() > 0:\n"
        "            x = -x\n"
        "        return self.head(x.flatten(1))\n"
        "def plain():\n    return Net(False)\n"
        "def branching():\n    return Net(True)\n",
        encoding="utf-8",
    )
    try:
        assert "Net has no site for a gate" in refused("sites", "--model", "mynets:plain")
        assert "cannot trace module 'Net'" in refused("sites", "--model", "mynets:branching")
    finally:
        import sys

        sys.modules.pop("mynets", None)


@pytest.mark.e2e
@pytest.mark.parametrize(("its", "ours", "units"), [("resnet20", "resnet56", 20), ("resnet56", "resnet20", 56)])
def test_a_profile_of_a_sibling(refused: Refused, its: str, ours: str, units: int) -> None:
    profile = f"intel-xeon-2-cores-{its}-b1-float32-1-thread-eager-torch2.15"
    search = ("search", "--pareto", "--threads", "1", "--layout", "channels_last", "--profile", profile)
    for command in (("explain", profile), (*search, "--dry-run"), (*search, "--study", "new")):
        line = refused(*command, "--model", ours)
        assert f"the profile of '{its}' is of another network: it has {units} units, this one {76 - units}" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_profile_of_a_device_that_is_not_here_is_not_validated(refused: Refused) -> None:
    name = "nvidia-h100-80gb-hbm3-resnet18-b1-float32-cuda_graph-torch2.11"
    line = refused("profile", "validate", name)
    assert f"{name} was profiled on 'NVIDIA H100 80GB HBM3' (cuda:0, 16 threads), and this machine has" in line
    assert line.endswith("cores' and no GPU; validate it there, or profile here with `autogate profile`")


def test_a_runtime_of_gpus_on_a_cpu(refused: Refused) -> None:
    how = ("--latency-budget", "75%", "--model", "resnet20", "--runtime", "cuda_graph", "--device", "cpu")
    assert "a CUDA graph runs on a GPU, not on cpu; use --runtime eager" in refused("search", *how)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--runtime", "egaer"), "unknown runtime 'egaer'; did you mean eager? (known: eager, cuda_graph, inductor"),
        (("--runtime", "inductor"), "networks cannot be profiled or searched in runtime 'inductor'; use one of eager"),
        (("--sampler", "bayes"), "sampler must be tpe, random, gp, nsgaii or package.module:factory, not 'bayes'"),
        (("--sampler", "nowhere:make"), "cannot import 'nowhere' for nowhere:make"),
    ],
)
def test_runtimes_and_samplers_that_are_not_there(refused: Refused, options: tuple[str, ...], complaint: str) -> None:
    assert complaint in refused(*SEARCH, *options)
