"""Published weights: what is known of them is consistent, digests are checked, old names are understood."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from pixelwise.catalog import SYSTEMS, create_model
from pixelwise.errors import UserError
from pixelwise.models.known_weights import HALF, KNOWN, check_digest, known_weights, recognised
from pixelwise.models.weights import load_weights, read_weights


def test_every_entry_is_of_a_network_here_and_found_by_its_name() -> None:
    assert {known.model for known in KNOWN} <= SYSTEMS.keys()
    assert len({known.name for known in KNOWN}) == len(KNOWN)
    for known in KNOWN:
        assert known in known_weights(known.model)
        assert recognised(known.name) == known
        assert known.on_hub or recognised(f"/some/where/{known.name}") == known
    assert recognised("resnet18") is None


def named_by_digest(tmp_path: Path, state: dict[str, torch.Tensor], stem: str = "net") -> Path:
    torch.save(state, tmp_path / "x")
    digest = hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()
    return (tmp_path / "x").rename(tmp_path / f"{stem}-{digest[:8]}.pth")


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    good = named_by_digest(tmp_path, {"a": torch.zeros(3)})
    assert read_weights(good).tensors.keys() == {"a"}
    bad = good.rename(tmp_path / "net-00000000.pth")
    with pytest.raises(UserError, match="the name says 00000000"):
        read_weights(bad)
    check_digest(bad.rename(tmp_path / "net-final.pth"))  # no digest in the name


def test_normalisation_is_that_of_the_known_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.models.weights.check_digest", lambda path: None)
    torch.save({"a": torch.zeros(3)}, tmp_path / "inception_v3_google-0cc3c7bd.pth")
    torch.save({"a": torch.zeros(3)}, tmp_path / "resnet18-f37072fd.pth")
    assert read_weights(tmp_path / "inception_v3_google-0cc3c7bd.pth").mean == HALF
    assert read_weights(tmp_path / "resnet18-f37072fd.pth").mean == (123.675, 116.28, 103.53)


def test_the_names_that_densenet_files_still_have(tmp_path: Path) -> None:
    network = create_model("densenet121", num_classes=10)
    state = network.state_dict()
    old = {
        name.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2.")
        if "denselayer" in name
        else name: value
        for name, value in state.items()
    }
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "old.pth")
    other = create_model("densenet121", num_classes=10)
    report = load_weights(other, tmp_path / "old.pth")
    assert not report.kept
    assert not report.unused
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())


def test_a_classifier_keeps_its_own_head_for_other_classes(tmp_path: Path) -> None:
    published = create_model("vgg11", num_classes=20, width=4)
    torch.save(published.state_dict(), tmp_path / "w.pth")
    ours = create_model("vgg11", num_classes=2, width=4, weights=tmp_path / "w.pth")
    for name, value in ours.state_dict().items():
        assert torch.equal(value, published.state_dict()[name]) == (not name.startswith("classifier.6"))
