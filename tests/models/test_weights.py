"""Pretrained weights: what is loaded, adapted and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import HFValidationError, HTTPError, LocalEntryNotFoundError
from safetensors.torch import save_file

from pixelwise.catalog import create_model, load_model
from pixelwise.data.pictures import PictureFormat
from pixelwise.errors import UserError
from pixelwise.models.encoders import create_encoder
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.models.weights import adapt_channels, input_normalisation, load_weights, read_weights


def save(path: Path, network: torch.nn.Module, **metadata: str) -> Path:
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path, metadata=metadata)
    return path


def test_an_encoder_takes_a_classifiers_weights(tmp_path: Path) -> None:
    classifier = create_model("resnet18", num_classes=7)
    encoder = create_encoder("resnet18", weights=save(tmp_path / "w.safetensors", classifier))
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, classifier.state_dict()[name])
    report = load_weights(encoder, tmp_path / "w.safetensors")
    assert report.unused == ("fc.bias", "fc.weight")
    assert not report.kept
    assert "2 not used (fc.bias, fc.weight)" in str(report)


def test_an_encoder_takes_a_whole_runs_weights(tmp_path: Path) -> None:
    unet = create_model("unet", num_classes=3, encoder="resnet18", decoder_channels=(8, 8, 8, 8, 8))
    spec = ModelSpec("unet", {}, ("a", "b", "c"), PictureFormat(), (1.0,) * 3, (2.0,) * 3)
    (tmp_path / "run").mkdir()
    save_model(tmp_path / "run" / "best.safetensors", unet.state_dict(), spec)
    encoder = create_encoder("resnet18", weights=tmp_path / "run")
    assert torch.equal(encoder.conv1.weight, unet.encoder.conv1.weight)
    assert read_weights(tmp_path / "run").mean == (1.0,) * 3


def test_a_run_of_the_same_network_fills_all_of_it_but_another_head(tmp_path: Path) -> None:
    options = {"encoder": "resnet18", "decoder_channels": (8, 8, 8, 8, 8)}
    before = create_model("unet", num_classes=3, **options)
    form = PictureFormat(3, "uint16")
    spec = ModelSpec("unet", {}, ("a", "b", "c"), form, (25_700.0,) * 3, (257.0,) * 3)
    save_model(tmp_path / "best.safetensors", before.state_dict(), spec)
    same = create_model("unet", num_classes=3, weights=tmp_path, **options)
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in before.state_dict().items())
    other = create_model("unet", num_classes=5, weights=tmp_path, **options)
    assert torch.equal(other.decoder[2].convs[0].weight, before.decoder[2].convs[0].weight)
    assert other.head.weight.shape[0] == 5
    assert read_weights(tmp_path).mean == (100.0,) * 3  # in units of 8 bits


def test_grey_and_many_channels(tmp_path: Path) -> None:
    colour = create_encoder("resnet18").eval()
    path = save(tmp_path / "w.safetensors", colour)
    picture = torch.randn(1, 1, 32, 32)
    for channels in (1, 2, 5, 6):
        other = create_encoder("resnet18", in_channels=channels, weights=path).eval()
        with torch.inference_mode():
            expected = colour.conv1(picture.repeat(1, 3, 1, 1))
            found = other.conv1(picture.repeat(1, channels, 1, 1))
        if channels in (1, 6):  # whole repetitions answer exactly alike; others nearly
            assert torch.allclose(found, expected, atol=1e-4)
        assert load_weights(other, path).adapted == ("conv1.weight",)


def test_adapted_weights_keep_their_scale() -> None:
    weight = torch.ones(4, 3, 3, 3)
    for channels in range(1, 9):
        assert adapt_channels(weight, channels).sum() == pytest.approx(float(weight.sum()))


def test_weights_of_another_network_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = save(tmp_path / "w.safetensors", create_model("resnet34", num_classes=2))
    with pytest.raises(UserError, match="parameters of the MobileNetV2"):
        create_encoder("mobilenet_v2", weights=path)
    wide = {
        name: torch.zeros(7, *value.shape[1:])
        for name, value in create_encoder("resnet18").state_dict().items()
        if value.dim()
    }
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(UserError, match="of another network"):
        create_encoder("resnet18", weights=tmp_path / "wide.safetensors")


def test_weights_without_an_encoder_are_not_ignored(tmp_path: Path) -> None:
    path = save(tmp_path / "w.safetensors", create_model("resnet18", num_classes=2))
    with pytest.raises(UserError, match="no encoder is given"):
        create_model("unet", num_classes=2, weights=path)


def test_damaged_missing_and_pickled_files(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(UserError, match="damaged"):
        read_weights(tmp_path / "broken.safetensors")
    with pytest.raises(UserError, match="no such weights file"):
        read_weights("nowhere.pth")
    torch.save({"a": Path("x")}, tmp_path / "objects.pth")
    with pytest.raises(UserError, match="read safely"):
        read_weights(tmp_path / "objects.pth")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="without best"):
        read_weights(tmp_path / "folder")


def test_torch_files_load_too(tmp_path: Path) -> None:
    classifier = create_model("resnet18", num_classes=7)
    torch.save({"state_dict": {f"module.{k}": v for k, v in classifier.state_dict().items()}}, tmp_path / "w.pth")
    encoder = create_encoder("resnet18", weights=tmp_path / "w.pth")
    assert torch.equal(encoder.conv1.weight, classifier.conv1.weight)


def test_hub_names_go_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "model.safetensors", create_encoder("resnet18"))
    asked = []

    def download(repo: str, filename: str) -> str:
        asked.append((repo, filename))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    create_encoder("resnet18", weights="someone/resnet")
    create_encoder("resnet18", weights="someone/resnet/sub/other.safetensors")
    assert asked == [("someone/resnet", "model.safetensors"), ("someone/resnet", "sub/other.safetensors")]


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("no route"),  # of the system
        HTTPError("proxy refused"),  # of the hub's HTTP client, which derives from Exception alone
        LocalEntryNotFoundError("not in the cache"),
        HFValidationError("no such form of name"),
    ],
)
def test_a_hub_that_cannot_be_reached_is_a_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo: str, filename: str) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(UserError, match="Hugging Face hub did not provide"):
        create_encoder("resnet18", weights="someone/resnet")


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [("RGB / 127.5 - 1", 127.5, 127.5), ("RGB / 255", 0.0, 255.0), ("", 123.675, 58.395), ("BGR - 4", 123.675, 58.395)],
)
def test_input_normalisation(text: str, mean: float, std: float) -> None:
    found = input_normalisation({"input": text})
    assert (found[0][0], found[1][0]) == (mean, std)


def test_model_files_come_back_bitwise(tmp_path: Path) -> None:
    network = create_model("unet", num_classes=2, width=2)
    spec = ModelSpec(
        "unet", {"num_classes": 2, "width": 2}, ("a", "b"), PictureFormat(3, "uint16"), (1.5,) * 3, (2.0,) * 3
    )
    save_model(tmp_path / "a.safetensors", network.state_dict(), spec)
    again, read = load_model(tmp_path / "a.safetensors")
    assert read == spec
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    save_model(tmp_path / "b.safetensors", again.state_dict(), read)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_published_weights_name_photographs(shared_folder: Path) -> None:
    """MobileNetV2 with TensorFlow's padding names most photographs right; the weights' README says 89 % of 1,000."""
    import numpy as np
    from PIL import Image

    network = create_model(
        "mobilenet_v2", tf_padding=True, weights=shared_folder / "weights" / "mobilenet_v2_imagenet.safetensors"
    ).eval()
    files = sorted((shared_folder / "data" / "photos").glob("*.jpg"))[:40]
    pictures = []
    for file in files:
        image = Image.open(file).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
        pictures.append(torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1)
    with torch.inference_mode():
        named = network(torch.stack(pictures)).argmax(1)
    right = sum(int(file.name[:4]) == int(index) for file, index in zip(files, named, strict=True))
    assert right >= 30


def test_the_input_size_of_a_file_of_version_0_1_is_read() -> None:
    spec = ModelSpec("lenet5", {}, ("a", "b"), PictureFormat(1), (0.0,), (1.0,), input_size=(28, 32))
    values = json.loads(spec.to_json())
    values["view"] = values.pop("input_size")
    assert ModelSpec.from_json(json.dumps(values)) == spec
