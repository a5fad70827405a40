"""The network of `deepdeblur_tf.build_model` (pixel shuffle) in PyTorch, written as PyTorch's users would."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, addition."""

    def __init__(self, filters: int, kernel_size: int):
        super().__init__()
        self.conv1 = nn.Conv2d(filters, filters, kernel_size, padding="same")
        self.conv2 = nn.Conv2d(filters, filters, kernel_size, padding="same")

    def forward(self, x):
        return x + self.conv2(functional.relu(self.conv1(x)))


class Network(nn.Module):
    """From a list of blurry levels, finest first, to as many restored ones: [N, 3, H, W] in [-0.5, 0.5].

    Args:
        settings: A `deepdeblur_tf.config.Model` with `upsampling: pixel_shuffle`.
    """

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        kernel, factor = settings.kernel_size, settings.shuffle_input
        inputs = [6] * (settings.levels - 1) + [3]
        widths = [settings.filters * settings.widening**level for level in range(settings.levels)]
        self.bodies = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels * factor**2, filters, kernel, padding="same"),
                *(ResidualBlock(filters, kernel) for _ in range(settings.blocks)),
                nn.Conv2d(filters, 3 * factor**2, kernel, padding="same"),
            )
            for channels, filters in zip(inputs, widths)
        )
        self.ups = nn.ModuleList(nn.Conv2d(3, 12, 5, padding="same") for _ in range(settings.levels - 1))
        passed = zip(widths[1:], widths) if settings.pass_features else ()
        self.features = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for coarse, fine in passed)

    def forward(self, blurry):
        factor, border, restored, features = self.settings.shuffle_input, self.settings.border, [], None
        for level in reversed(range(len(blurry))):
            x = _continued(blurry[level], border)
            if restored:
                coarser = functional.pixel_shuffle(self.ups[level](_continued(restored[-1], border)), 2)
                x = torch.cat([x, _cut(coarser, border)], dim=1)
            head, *blocks, tail = self.bodies[level]
            x = head(functional.pixel_unshuffle(x, factor))
            if self.settings.pass_features and features is not None:
                x = x + _cut(functional.pixel_shuffle(self.features[level](features), 2), border // factor)
            for block in blocks:
                x = block(x)
            features = x
            x = _cut(functional.pixel_shuffle(tail(x), factor), border)
            restored.append(x + blurry[level] if self.settings.global_skip else x)
        return restored[::-1]

    def take(self, network) -> None:
        """Takes the weights of a Keras network with the same settings.

        TensorFlow's depth-to-space orders channels (place, colour), PyTorch's pixel shuffle (colour, place).
        """
        factor = self.settings.shuffle_input

        def put(convolution, layer, ins=1, outs=1):
            kernel, bias = network.get_layer(layer).get_weights()
            kernel = torch.from_numpy(kernel).permute(3, 2, 0, 1)
            convolution.weight.data = _colour_first(_colour_first(kernel, outs, 0), ins, 1).contiguous()
            convolution.bias.data = _colour_first(torch.from_numpy(bias), outs, 0).contiguous()

        for level, (head, *blocks, tail) in enumerate(self.bodies, 1):
            put(head, f"level{level}_head", ins=factor)
            put(tail, f"level{level}_tail", outs=factor)
            for number, block in enumerate(blocks, 1):
                put(block.conv1, f"level{level}_block{number}_conv1")
                put(block.conv2, f"level{level}_block{number}_conv2")
        for level, up in enumerate(self.ups, 1):
            put(up, f"level{level}_up", outs=2)
        for level, passed in enumerate(self.features, 1):
            put(passed, f"level{level}_features", outs=2)


def _continued(images, border: int):
    return functional.pad(images, 4 * [border], mode="replicate") if border else images


def _cut(images, border: int):
    return images[..., border : images.shape[-2] - border, border : images.shape[-1] - border]


def _colour_first(array, factor: int, axis: int):
    """Channels along an axis from (place, colour) to (colour, place), of factor x factor places."""
    places = factor**2
    return array.unflatten(axis, (places, -1)).transpose(axis, axis + 1).flatten(axis, axis + 1)
