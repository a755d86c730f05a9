"""Makes efficientnet_lite0.npz and torch/ beside it with PyTorch, which the tests do not need.

    pip install --target reference torch==2.13.0 efficientnet-lite-pytorch==0.1.0
    PYTHONPATH=reference python tests/weights/data/make_efficientnet.py efficientnet-lite0-57934424.pth

efficientnet_lite0.npz holds what efficientnet-lite-pytorch computes with the file's weights: logits, and of each block
the mean over all places and some of its numbers, for two cuts of scikit-learn's flower.jpg. torch/ holds the same
tensors in both forms of PyTorch's files, numbers.npz what they are.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from sklearn.datasets import load_sample_image

FOLDER = Path(__file__).parent
CUTS = {"even": (slice(100, 324), slice(200, 424)), "odd": (slice(100, 175), slice(200, 298))}  # 224 x 224, 75 x 98


def network():
    # Without a size of the image the padding is computed for each input, as TensorFlow does it.
    model = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    model.load_state_dict(torch.load(sys.argv[1], map_location="cpu", weights_only=True))
    return model.eval()


def results():
    model, found = network(), {}
    stages = {f"block_{i}": block for i, block in enumerate(model._blocks, 1)}
    for name, (rows, columns) in CUTS.items():
        image = (load_sample_image("flower.jpg")[rows, columns].astype("float32") - 127) / 128

        def keep(stage, output, name=name):
            numbers = output.detach().numpy()[0].transpose(1, 2, 0)  # (height, width, channels)
            found[f"{name}/{stage}/mean"] = numbers.mean(axis=(0, 1))
            found[f"{name}/{stage}/some"] = numbers.ravel()[:: max(1, numbers.size // 200)]

        hooks = [b.register_forward_hook(lambda _, __, out, s=s: keep(s, out)) for s, b in stages.items()]
        with torch.no_grad():
            inputs = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
            keep("features", model.extract_features(inputs))
            found[f"{name}/logits"] = model(inputs).numpy()[0]
        for hook in hooks:
            hook.remove()
    np.savez_compressed(FOLDER / "efficientnet_lite0.npz", **found)


def files():
    """A small state of what is read: dtypes, turned axes, parts of one storage, an empty tensor and a lone number."""
    torch.manual_seed(0)
    folder = FOLDER / "torch"
    folder.mkdir(exist_ok=True)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, (2, 5)), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    state = model.to(memory_format=torch.channels_last).state_dict()
    whole = torch.arange(24, dtype=torch.int16).reshape(2, 3, 4)
    state |= {"whole": whole, "second": whole[1], "turned": whole.permute(2, 0, 1), "empty": torch.zeros(0, 3)}
    for dtype in ("float64", "float16", "bfloat16", "int64", "int32", "int8", "uint8"):
        state[dtype] = (torch.randn(3, 2) * 9).abs().to(getattr(torch, dtype))
    state["bool"] = torch.tensor([True, False, True])
    state["名字 é"] = torch.ones(1)
    torch.save(state, folder / "zip.pth")
    torch.save(state, folder / "zip_protocol_4.pth", pickle_protocol=4)
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    arrays = {name: (one.float() if one.dtype == torch.bfloat16 else one).numpy() for name, one in state.items()}
    np.savez_compressed(folder / "numbers.npz", **arrays)


if __name__ == "__main__":
    results()
    files()
