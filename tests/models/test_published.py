"""Published weights are found in a folder, in the hub's cache, or on the hub, and in no other place."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from pixelwise.catalog import SYSTEMS, create_model, published_classifier
from pixelwise.errors import UserError
from pixelwise.models import published
from pixelwise.models.encoders import create_encoder
from pixelwise.models.known_weights import known_weights
from pixelwise.models.published import Search, fits, published_tensors, read_shapes, search
from pixelwise.training.recipes import load_recipe

HUB = "timm/mobilenetv2_100.ra_in1k"


def encoder_file(path: Path, name: str = "mobilenet_v2", **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(create_encoder(name).state_dict(), path, metadata=metadata)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("PIXELWISE_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published weights of MobileNetV2 in a local cache of the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    home = tmp_path / "hub" / "models--timm--mobilenetv2_100.ra_in1k"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("a1b2")
    return encoder_file(home / "snapshots" / "a1b2" / "model.safetensors")


@pytest.mark.parametrize("name", ["timm--mobilenetv2_100.ra_in1k.safetensors", "mobilenetv2_100.ra_in1k.safetensors"])
def test_a_file_is_found_by_its_published_name(name: str, folder: Path) -> None:
    encoder_file(folder / "another.safetensors")
    path = encoder_file(folder / name)
    (folder / "broken.safetensors").write_bytes(b"no tensors")  # is not looked into
    assert search("mobilenet_v2") == Search(str(path))


def test_torchvisions_files_are_found_by_name_and_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "resnet18-f37072fd.pth"
    torch.save(create_model("resnet18").state_dict(), path)
    torch.save(create_model("resnet18").state_dict(), folder / "mine.pth")
    assert search("resnet18") == Search(str(path))
    path.rename(folder / "resnet34-b627a593.pth")
    with pytest.raises(
        UserError, match=r"resnet34-b627a593\.pth: the file has the name of .* not the tensors of resnet34"
    ):
        search("resnet34")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_any_file_is_found_whose_tensors_fit(suffix: str, folder: Path) -> None:
    path = folder / f"mine.{suffix}"
    state = create_encoder("mobilenet_v2").state_dict()
    save_file(state, path) if suffix == "safetensors" else torch.save({"state_dict": state}, path)
    (folder / "notes.txt").write_text("of no use")
    assert search("mobilenet_v2") == search("mobilenet_v2_tf") == Search(str(path))
    assert search("resnet18").weights is None


def test_of_files_that_fit_the_one_with_the_encoders_padding_is_taken(folder: Path) -> None:
    tensorflow = encoder_file(folder / "a.safetensors", padding="same (TensorFlow)")
    symmetric = encoder_file(folder / "b.safetensors")
    assert search("mobilenet_v2") == Search(str(symmetric))
    assert search("mobilenet_v2_tf") == Search(str(tensorflow))
    symmetric.unlink()
    assert search("mobilenet_v2") == Search(str(tensorflow))


def test_published_tensors_fit_their_own_network_only() -> None:
    """A ResNet-34 holds all names and shapes of a ResNet-18, and is none."""
    names = [name for name in SYSTEMS if known_weights(name)]
    for name in names:
        tensors = published_tensors(name)
        assert [other for other in names if fits(tensors, other)] == [name]
        assert fits({f"encoder.{key}": value for key, value in tensors.items()}, name)


def test_numbers_are_not_read_to_see_what_fits(folder: Path) -> None:
    path = encoder_file(folder / "a.safetensors", input="RGB / 255")
    tensors, metadata = read_shapes(path)
    assert metadata == {"input": "RGB / 255"}
    assert all(tensor.is_meta for tensor in tensors.values())
    torch.save(create_encoder("mobilenet_v2").state_dict(), folder / "b.pth", _use_new_zipfile_serialization=False)
    assert {name: tensor.shape for name, tensor in read_shapes(folder / "b.pth")[0].items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    "name", ["mobilenetv2_100.ra_in1k.safetensors", "mobilenet_v2-7ebf99e0.pth", "mine.safetensors", "mine.pth"]
)
def test_a_damaged_file_is_named(name: str, folder: Path) -> None:
    path = encoder_file(folder / name)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=name):
        search("mobilenet_v2")


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELWISE_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"\$PIXELWISE_WEIGHTS: .*nowhere is not a folder"):
        search("mobilenet_v2")


def test_the_hubs_cache_comes_after_the_folder(cached: Path, folder: Path) -> None:
    assert search("mobilenet_v2") == search("mobilenet_v2_tf") == Search(HUB)
    path = encoder_file(folder / "mine.safetensors")
    assert search("mobilenet_v2") == Search(str(path))


def test_offline_the_hub_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    found = search("mobilenet_v2")
    assert found.weights is None
    assert "HF_HUB_OFFLINE" in found.tried[-1]
    assert "$PIXELWISE_WEIGHTS is not set" in found.tried


def refuse(*given: object, **options: object) -> object:
    raise AssertionError("the hub was asked")


def with_forward(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], object]) -> None:
    """A hub that is asked."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url, timeout: answer())


def test_a_hub_that_answers_gives_the_file(cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, hidden = [], cached.rename(tmp_path / "away.safetensors")

    def download(repo: str, filename: str) -> str:
        asked.append((repo, filename))
        hidden.rename(cached)
        return str(cached)

    with_forward(monkeypatch, lambda: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert search("mobilenet_v2") == Search(HUB)
    assert asked == [(HUB, "model.safetensors")]
    assert search("mobilenet_v2") == Search(HUB)
    assert len(asked) == 1


def test_a_hub_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    with_forward(monkeypatch, lambda: over.wait(60))
    monkeypatch.setattr(published, "REACH", 0.2)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    began = time.monotonic()
    found = search("mobilenet_v2")
    over.set()
    assert time.monotonic() - began < 30
    assert found.weights is None
    assert "did not answer within 0.2 seconds" in found.tried[-1]


class LocalHub(BaseHTTPRequestHandler):
    """Answers for one repository as the hub does."""

    content = b""

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        if self._head():
            self.wfile.write(self.content)

    def _head(self) -> bool:
        known = self.path.startswith(f"/{HUB}/resolve/")
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(self.content) if known else 0))
        self.send_header("ETag", f'"{hashlib.sha256(self.content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a1b2" * 10)
        self.end_headers()
        return known

    def log_message(self, *given: object) -> None:
        pass


def test_the_hubs_own_client_brings_the_file_into_the_cache(tmp_path: Path) -> None:
    content = encoder_file(tmp_path / "model.safetensors").read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (LocalHub,), {"content": content}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "NO_PROXY": "127.0.0.1",
    }
    lines = [
        "from pixelwise.models.published import search",
        "from pixelwise.models.weights import locate",
        "print(search('resnet18').weights, search('mobilenet_v2').weights, locate(search('mobilenet_v2_tf').weights))",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    first, second, path = done.stdout.split()
    assert (first, second) == ("None", HUB)
    assert Path(path).read_bytes() == content
    assert tmp_path / "hub" in Path(path).parents


@pytest.mark.parametrize("late", [False, True])
def test_a_hub_that_fails_is_told(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> object:
        raise ConnectionError("no route")

    with_forward(monkeypatch, fail if not late else lambda: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    found = search("mobilenet_v2")
    assert found.weights is None
    assert "no route" in found.tried[-1]


@pytest.mark.parametrize(
    ("recipe", "overrides", "classifier"),
    [
        ("unet", {}, "mobilenet_v2"),
        ("unet", {"model.encoder": "mobilenet_v2_tf"}, "mobilenet_v2_tf"),
        ("unet", {"model.encoder": None}, None),
        ("unet", {"model.encoder": "xception"}, None),
        ("unet", {"model.encoder": "nonsense"}, None),
        ("deeplab_v3", {}, "mobilenet_v2"),
        ("localizer", {}, "resnet18"),
        ("cut", {}, "vgg16"),
        ("cut", {"model.options": {"width": 16}}, None),
        ("finetune", {}, "resnet18"),
        ("vgg11_bn", {}, None),
        ("vgg11_bn", {"model.width": 64}, "vgg11_bn"),
        ("fcn8s", {}, None),
        ("fcn8s", {"model.width": 64}, "vgg16"),
        ("ternausnet", {"model.width": 64}, "vgg11"),
        ("hourglass", {}, None),
        ("mlp", {}, None),
        ("vae", {}, None),
    ],
)
def test_which_classifier_a_recipe_starts_from(
    recipe: str, overrides: dict[str, object], classifier: str | None
) -> None:
    model = load_recipe(recipe, overrides).model
    assert published_classifier(model.name, model.options) == classifier


def test_the_file_that_stands_in_for_the_hub(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELWISE_WEIGHTS", str(shared_folder / "weights"))
    path = (shared_folder / "weights" / "mobilenet_v2_imagenet.safetensors").resolve()
    assert search("mobilenet_v2") == search("mobilenet_v2_tf") == Search(str(path))
