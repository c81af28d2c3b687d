"""Train the digits network, bring it to integers, and write the files that the repository keeps.

    python models/digits/train.py            train, convert, write, report
    python models/digits/train.py --check    only measure the committed artifact

The split is committed (`split.json`), so that a later training is judged on the same 360 images. Training
is float: the same processor and library give the committed files again, byte for byte, others may give other
weights and so another id. The artifact that it once made is the model.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from neuron.convert_torch import float_layers  # noqa: E402 (a script finds the packages beside it)
from neuron.quantize import Head, quantize  # noqa: E402
from vm.inference import engine  # noqa: E402
from vm.inference.artifact import (  # noqa: E402
    Artifact,
    Labels,
    build_artifact,
    encode_announcement,
    encode_artifact,
    parse_artifact,
)
from vm.inference.manifest import Tier  # noqa: E402
from vm.inference.tensors import DType, TensorType  # noqa: E402

HERE = Path(__file__).resolve().parent
SHIPPED = ROOT / "vm" / "inference" / "models"
HELD_OUT = SHIPPED / "digits-heldout.bin"
SEED = 20_260
HELD_OUT_IMAGES = 360
PIXEL_HIGH = 16
EPOCHS = 60
BATCH = 64
LICENCE = "MIT"
NAMES = {Tier.ON_CHAIN: "digits-onchain", Tier.NEURON: "digits-neuron"}


def split() -> tuple[Any, Any, Any, Any]:
    """Return training images and labels, held-out images and labels; images are (n, 8, 8) uint8 0..16."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images, labels = data.images.astype(np.uint8), data.target.astype(np.int64)
    path = HERE / "split.json"
    if not path.exists():
        order = np.random.default_rng(SEED).permutation(len(images))
        held_out = sorted(int(index) for index in order[:HELD_OUT_IMAGES])
        path.write_text(json.dumps({"seed": SEED, "held_out": held_out}) + "\n")
    chosen = np.zeros(len(images), dtype=bool)
    chosen[json.loads(path.read_text())["held_out"]] = True
    return images[~chosen], labels[~chosen], images[chosen], labels[chosen]


def build_network() -> Any:
    """Return the untrained network: three 3x3 convolutions, two poolings, one dense layer."""
    from torch import nn

    def block(channels: int, outputs: int) -> list[Any]:
        return [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    layers = [*block(1, 16), *block(16, 32), nn.MaxPool2d(2), *block(32, 64), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, 10))


def train(images: Any, labels: Any) -> Any:
    """Return the trained network; images are shifted by up to one pixel, as hands do."""
    import torch

    torch.manual_seed(SEED)
    network = build_network()
    inputs = as_input(images)
    targets = torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
    steps = EPOCHS * -(-len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    for _ in range(EPOCHS):
        network.train()
        for chosen in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                network(shifted(inputs[chosen])), targets[chosen], label_smoothing=0.05
            )
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def shifted(batch: Any) -> Any:
    """Return the batch moved by a random step of at most one pixel each way."""
    import torch

    down, right = (int(step) for step in torch.randint(-1, 2, (2,)))
    padded = torch.nn.functional.pad(batch, (1, 1, 1, 1))
    return padded[:, :, 1 + down : 9 + down, 1 + right : 9 + right]


def as_input(images: Any) -> Any:
    """Return (n, 1, 8, 8) float32 in 0..1."""
    import torch

    return torch.from_numpy(images.astype(np.float32) / PIXEL_HIGH).unsqueeze(1)


def convert(network: Any, images: Any) -> dict[Tier, Artifact]:
    """Return the integer model on both tiers, calibrated on the training images."""
    source = TensorType(DType.U8, (8, 8, 1), 0, PIXEL_HIGH)
    graph, constants = quantize(float_layers(network, as_input(images)), source, 1 / PIXEL_HIGH, Head.CLASSES)
    return {
        tier: build_artifact(graph, constants, Labels(name, LICENCE, tier)) for tier, name in NAMES.items()
    }


def integer_classes(artifact: Artifact, images: Any) -> Any:
    """Return the first output byte for each image."""
    size = artifact.manifest.output_bytes
    return np.array([engine.run(artifact, image.tobytes(), b"", size).output[0] for image in images])


def float_classes(network: Any, images: Any) -> Any:
    """Return the float network's answers."""
    import torch

    with torch.no_grad():
        return network(as_input(images)).argmax(dim=1).numpy()


def write(artifacts: dict[Tier, Artifact], held_out: tuple[Any, Any]) -> None:
    """Write artifacts, the neuron model's announcement, and the held-out images (64 pixels, 1 label each)."""
    for tier, artifact in artifacts.items():
        (SHIPPED / f"{NAMES[tier]}.bitai").write_bytes(encode_artifact(artifact))
    announcement = encode_announcement(artifacts[Tier.NEURON].announcement)
    (SHIPPED / "digits-neuron.announcement.bitai").write_bytes(announcement)
    images, labels = held_out
    records = np.concatenate(
        [images.reshape(len(images), -1), labels[:, np.newaxis].astype(np.uint8)], axis=1
    )
    HELD_OUT.write_bytes(records.astype(np.uint8).tobytes())


def main() -> None:
    """Train and write, or check."""
    parser = argparse.ArgumentParser(description="Train or check the digits model.")
    parser.add_argument("--check", action="store_true", help="measure the committed artifact, train nothing")
    if parser.parse_args().check:
        check()
        return
    images, labels, test_images, test_labels = split()
    network = train(images, labels)
    artifacts = convert(network, images)
    write(artifacts, (test_images, test_labels))
    model = artifacts[Tier.ON_CHAIN]
    floats, integers = float_classes(network, test_images), integer_classes(model, test_images)
    everything = np.concatenate([images, test_images])
    report = {
        "held_out": len(test_labels),
        "float_correct": int((floats == test_labels).sum()),
        "integer_correct": int((integers == test_labels).sum()),
        "float_classes": "".join(str(digit) for digit in floats),
        "same_class_of_all": int(
            (float_classes(network, everything) == integer_classes(model, everything)).sum()
        ),
        "images": len(everything),
        "model_ids": {NAMES[tier]: artifact.model_id.hex() for tier, artifact in artifacts.items()},
        "artifact_bytes": len(encode_artifact(model)),
        "cost_macs": model.manifest.macs,
    }
    (HERE / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def check() -> None:
    """Print what the committed artifact does on the committed images."""
    records = np.frombuffer(HELD_OUT.read_bytes(), dtype=np.uint8).reshape(HELD_OUT_IMAGES, 65)
    report = json.loads((HERE / "report.json").read_text())
    for name in NAMES.values():
        artifact = parse_artifact((SHIPPED / f"{name}.bitai").read_bytes())
        correct = int((integer_classes(artifact, records[:, :64]) == records[:, 64]).sum())
        print(f"{name}  {artifact.model_id.hex()}")
        print(f"  integer {correct}/{len(records)}, float {report['float_correct']}/{len(records)}")


if __name__ == "__main__":
    main()
