"""Crops of pairs with their pyramids as a PyTorch data set, written as PyTorch's users would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset


class Pairs(Dataset):
    """Random crops, flipped at random, of the pairs in a folder of GOPRO's layout.

    Args:
        folder: The data set's folder.
        patch: int. The side of a crop in pixels.
        count: int. How many samples there are; pairs are repeated.
        is_cached: bool. Whether a worker decodes each pair only once.
    """

    def __init__(self, folder, patch: int, count: int, is_cached: bool):
        self.files = sorted(Path(folder).glob("train/*/blur/*.png"))
        self.patch, self.count, self.is_cached, self.kept = patch, count, is_cached, {}

    def __len__(self) -> int:
        return self.count

    def _pair(self, index: int) -> np.ndarray:
        if index in self.kept:
            return self.kept[index]
        blurry = self.files[index]
        sharp = blurry.parents[1] / "sharp" / blurry.name
        pair = np.dstack([np.asarray(Image.open(path)) for path in (blurry, sharp)])
        if self.is_cached:
            self.kept[index] = pair
        return pair

    def __getitem__(self, index: int):
        pair = self._pair(index % len(self.files))
        random = np.random.default_rng(index)
        top, left = (random.integers(0, side - self.patch + 1) for side in pair.shape[:2])
        patch = pair[top : top + self.patch, left : left + self.patch]
        patch = patch[:, ::-1] if random.random() < 0.5 else patch
        return [[_tensor(image, level) for level in range(3)] for image in np.split(patch, 2, axis=2)]


def _tensor(image: np.ndarray, level: int) -> torch.Tensor:
    """A level of the pyramid, by Pillow's bicubic filter, which is nearly MATLAB's: float32 [3, H, W]."""
    side = image.shape[0] >> level
    resized = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC) if level else image
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255 - 0.5
