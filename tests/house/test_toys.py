"""A task and two networks that no file of the package knows go through every command by one entry in each table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from coco_folder import draw_coco_folder
from sparsevision import Predictor, create_model, evaluate, list_models, sweep
from sparsevision.cli import main
from sparsevision.errors import ConfigError
from sparsevision.factory import task_of
from sparsevision.tasks import task_of_data
from sparsevision.training import read_recipe, train
from toys.registering import draw_squares, register_toys

RECIPE = Path(__file__).parents[1] / "toys" / "recipe.toml"


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    register_toys(monkeypatch)


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    return draw_squares(tmp_path / "squares")


@pytest.fixture
def run(toys: None, squares: Path, tmp_path: Path) -> Path:
    """A finished run of the toy task."""
    status = main(["train", "--recipe", str(RECIPE), "--data", str(squares), "--out", str(tmp_path / "run")])
    assert status == 0
    return tmp_path / "run"


def test_data_and_model_find_their_task(toys: None, squares: Path) -> None:
    assert task_of_data(squares) == "counting"
    assert task_of("tally_net_nano") == "counting"
    assert list_models("tally*") == ["tally_net_nano"]


def test_models_lists_its_options_and_files(toys: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "tally_net_nano"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "0 to 2" in rows["--sharpness"]
    assert "mean" in rows["--pooling"]
    assert {"--round-to", "--counts", "--errors"} <= set(rows)
    assert main(["models", "tally_net_nano", "--json"]) == 0
    named = {option["name"] for option in json.loads(capsys.readouterr().out)["options"]}
    assert named == {"sharpness", "pooling", "round_to"}
    assert main(["models", "sparseformer_*", "--json"]) == 0
    assert all("options" not in json.loads(line) for line in capsys.readouterr().out.splitlines())


def test_doctor_inspects_it(toys: None, squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (squares / "00.png").write_bytes(b"broken")
    assert main(["doctor", str(squares), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["data"]
    assert found["counts"]["train"][0] == 9
    main(["doctor", str(squares)])
    assert "objects" in capsys.readouterr().out


def test_a_resumed_training_ends_where_an_unbroken_one_does(
    run: Path, squares: Path, tmp_path: Path, toys: None
) -> None:
    recipe = read_recipe(RECIPE)
    short = recipe.with_values({"run.time_budget_minutes": 1e-6, "run.checkpoint_every": 1})
    train(short, data=str(squares), out=tmp_path / "resumed")
    train(recipe, data=str(squares), out=tmp_path / "resumed", resume=True)
    from safetensors.torch import load_file

    one, other = (load_file(folder / "last" / "state.safetensors") for folder in (run, tmp_path / "resumed"))
    learned = [name for name in one if name.startswith("learner.")]
    assert learned
    assert all(torch.equal(one[name], other[name]) for name in learned)


def test_evaluate_prints_its_tables_and_writes_its_report(
    run: Path, squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    given = [
        "evaluate",
        str(run),
        "--data",
        str(squares),
        "--sharpness",
        "0.5",
        "--errors",
        str(tmp_path / "errors.csv"),
    ]
    assert main(given) == 0
    assert "3 images" in capsys.readouterr().out
    assert (tmp_path / "errors.csv").read_text().startswith("mean,")
    report, skipped = evaluate(run, str(squares))
    assert report.images == 3
    assert not skipped


def test_its_control_is_swept(run: Path, squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["evaluate", str(run), "--data", str(squares), "--sharpness", "0.5", "2", "--out", str(tmp_path / "sweep")]
    capsys.readouterr()
    assert main(given) == 0
    printed = capsys.readouterr().out
    assert "sharpness" in printed
    assert "pooling" in printed
    rows = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["rows"]
    assert [(row["pooling"], row["sharpness"]) for row in rows] == [
        ("mean", 0.5), ("mean", 2.0), ("max", 0.5), ("max", 2.0),
    ]  # fmt: skip
    assert (tmp_path / "sweep" / "sweep.png").stat().st_size > 1000
    assert len(sweep(run, str(squares), values={"pooling": ["mean"]}).rows) == 6


def test_predict_takes_its_options_and_its_writer(
    run: Path, squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    out = tmp_path / "counts.csv"
    given = ["predict", str(squares / "03.png"), "--model", str(run / "best"), "--round-to", "0.5", "--pooling", "max"]
    assert main([*given, "--counts", str(out), "--unit", "boxes", "--draw", str(tmp_path / "drawn"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["count"] % 0.5 == 0
    assert out.read_text() == f"03.png,{answer['count']:.3f},boxes\n"
    assert (tmp_path / "drawn" / "03.png").is_file()
    plain, sharp = (Predictor(run / "best", "cpu")(str(squares / "03.png"), round_to=0.01, **options).count
                    for options in ({}, {"sharpness": 2.0}))  # fmt: skip
    assert plain != sharp


def test_its_control_is_given_and_seen_on_the_page(run: Path, squares: Path, tmp_path: Path) -> None:
    given = ["explain", str(squares / "03.png"), "--model", str(run / "best"), "--sharpness", "1.5", "--pooling", "max"]
    assert main([*given, "--page", "--out", str(tmp_path / "explained")]) == 0
    page = (tmp_path / "explained" / "page.html").read_text()
    assert '"name":"Sharpness","value":"1.5"' in page
    assert '"name":"Pooling","value":"max"' in page


@pytest.mark.parametrize("command", ["predict", "evaluate", "explain"])
def test_a_mistyped_control_is_answered_with_the_models_own_names(
    command: str, run: Path, squares: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "predict": ["predict", str(squares / "03.png"), "--model", str(run / "best")],
        "explain": ["explain", str(squares / "03.png"), "--model", str(run / "best")],
        "evaluate": ["evaluate", str(run / "best"), "--data", str(squares)],
    }[command]
    capsys.readouterr()
    assert main([*given, "--sharpnes", "0.5"]) == 2
    assert "--sharpness" in capsys.readouterr().err
    assert main([*given, "--sharpness", "9"]) == 2
    assert "from 0 to 2" in capsys.readouterr().err
    assert main([*given, "--pooling", "median"]) == 2
    assert "'mean'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "name"), [("loss.label_smoothing=0.1", "loss.power"), ("transforms.mixup=0.2", "transforms.flip")]
)
def test_an_option_that_it_does_not_have_is_refused(toys: None, override: str, name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_recipe(RECIPE, [override])
    assert override.partition("=")[0] in str(refused.value)
    assert "counting" in str(refused.value)
    assert name in dir_of(read_recipe(RECIPE))


def dir_of(recipe: object) -> list[str]:
    tree = recipe.model_dump()  # type: ignore[attr-defined]
    return [f"{section}.{field}" for section, fields in tree.items() if isinstance(fields, dict) for field in fields]


def test_a_softmax_head_goes_the_whole_road(toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = draw_coco_folder(tmp_path / "shapes")
    recipe = read_recipe("objects_nano").with_values(
        {
            "model": {"name": "softmax_detr_nano"},
            "data.batch": 3,
            "transforms.short_sides": [48],
            "transforms.longest": 96,
            "transforms.crop": 0.0,
            "schedule.epochs": 2,
            "schedule.warmup_epochs": 0,
            "run.workers": 0,
            "run.precision": "fp32",
        }
    )
    train(recipe, data=str(data), out=tmp_path / "run")
    predictor = Predictor(tmp_path / "run" / "best", "cpu")
    assert predictor.labels == ("disc", "square")
    assert predictor.model.classes.out_features == 3
    result = predictor(str(data / "val" / "001.png"), threshold=0.0)
    assert len(result) == 12  # six queries, two classes
    assert all(label in predictor.labels for label in result.labels)
    assert sum(result.scores) < 6  # the background has its share
    assert main(["evaluate", str(tmp_path / "run"), "--data", str(data)]) == 0
    model = create_model("softmax_detr_nano", checkpoint=tmp_path / "run" / "best", num_classes=5)
    assert model.classes.out_features == 6
