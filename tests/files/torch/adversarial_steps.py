"""Writes adversarial_steps.npz: two adversarial steps in PyTorch, which the package's own are tested against.

    python tests/files/torch/adversarial_steps.py        (needs PyTorch; the file was made with 2.13)

The step is that of the authors' Torch code (DeepDeblur_release: model.lua, loss.lua, train.lua): restored patches are
judged once; on that both networks step, each by an Adam of its own; both losses of the judgements are binary cross
entropies over log 2, times the weight; patches are judged in 0 to 1.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy, conv2d, leaky_relu, mse_loss, relu

FILTERS, KERNEL, SIDE, BATCH = 2, 3, 256, 2
WEIGHT, RATE, EPSILON, STEPS = 0.01, 1e-3, 1e-8, 2
# Of a network of one level and one block, and of the discriminator: (feature maps in, out, kernel, stride).
NETWORK = [(3, FILTERS, KERNEL, 1), *2 * [(FILTERS, FILTERS, KERNEL, 1)], (FILTERS, 3, KERNEL, 1)]
DISCRIMINATOR = [
    (3, FILTERS // 2, KERNEL, 1),
    (FILTERS // 2, FILTERS // 2, KERNEL, 2),
    (FILTERS // 2, FILTERS, KERNEL, 1),
    (FILTERS, FILTERS, KERNEL, 2),
    (FILTERS, 2 * FILTERS, KERNEL, 1),
    (2 * FILTERS, 2 * FILTERS, KERNEL, 4),
    (2 * FILTERS, 4 * FILTERS, KERNEL, 1),
    (4 * FILTERS, 4 * FILTERS, KERNEL, 4),
    (4 * FILTERS, 8 * FILTERS, KERNEL, 1),
    (8 * FILTERS, 8 * FILTERS, 4, 4),
]
CLASSIFIER = (8 * FILTERS, 1, 1, 1)


def draw():
    """Both networks' weights, in TensorFlow's order and layout."""
    random = np.random.default_rng(0)

    def kernel(inputs, outputs, side, _):
        bound = (1.5 if inputs > 1 else 4) * (side * side * inputs) ** -0.5
        return random.uniform(-bound, bound, (side, side, inputs, outputs)).astype(np.float32)

    def bias(outputs):
        return random.uniform(-0.1, 0.1, outputs).astype(np.float32)

    network = [array for shape in NETWORK for array in (kernel(*shape), bias(shape[1]))]
    discriminator = [kernel(*shape) for shape in DISCRIMINATOR] + [kernel(*CLASSIFIER), bias(1)]
    return network, discriminator


def to_torch(arrays):
    """Kernels (h, w, in, out) to (out, in, h, w)."""
    return [torch.tensor(a.transpose(3, 2, 0, 1) if a.ndim == 4 else a, requires_grad=True) for a in arrays]


def from_torch(tensors):
    arrays = [tensor.detach().numpy() for tensor in tensors]
    return [a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for a in arrays]


def restore(weights, image):
    def convolution(number, x):
        return conv2d(x, weights[2 * number], weights[2 * number + 1], padding=KERNEL // 2)

    x = convolution(0, image - 0.5)
    return convolution(3, x + convolution(2, relu(convolution(1, x)))) + 0.5


def judge(weights, image):
    x = image
    for weight, (_, _, side, stride) in zip(weights, DISCRIMINATOR):
        x = leaky_relu(conv2d(x, weight, stride=stride, padding=0 if side == 4 else side // 2), 0.2)
    return torch.sigmoid(conv2d(x, weights[-2], weights[-1]))


class Adam:
    """Torch's optim.adam, whose epsilon is added before the correction of the bias, as in Keras."""

    def __init__(self, weights):
        self.weights, self.step = weights, 0
        self.first, self.second = ([torch.zeros_like(w) for w in weights] for _ in range(2))

    def apply(self, gradients):
        self.step += 1
        rate = RATE * (1 - 0.999**self.step) ** 0.5 / (1 - 0.9**self.step)
        with torch.no_grad():
            for weight, gradient, first, second in zip(self.weights, gradients, self.first, self.second):
                first.mul_(0.9).add_(0.1 * gradient)
                second.mul_(0.999).add_(0.001 * gradient**2)
                weight.sub_(rate * first / (second.sqrt() + EPSILON))


def entropy(judgement, label):
    return binary_cross_entropy(judgement, torch.full_like(judgement, label)) / np.log(2)


def main():
    drawn = draw()
    network, discriminator = map(to_torch, drawn)
    patches = np.random.default_rng(1).random((2, BATCH, SIDE, SIDE, 3), dtype=np.float32)
    blurry, sharp = (torch.tensor(side.transpose(0, 3, 1, 2)) for side in patches)
    own, other = Adam(network), Adam(discriminator)
    logs = []
    for _ in range(STEPS):
        restored = restore(network, blurry)
        judged = judge(discriminator, restored)
        error, adversarial = mse_loss(restored, sharp), entropy(judged, 1.0)
        own_gradients = torch.autograd.grad(error + WEIGHT * adversarial, network, retain_graph=True)
        told = entropy(judge(discriminator, restored.detach()), 0.0) + entropy(judge(discriminator, sharp), 1.0)
        other_gradients = torch.autograd.grad(WEIGHT * told, discriminator)
        norm = torch.cat([gradient.flatten() for gradient in (*own_gradients, *other_gradients)]).norm()
        logs.append([value.item() for value in (error, adversarial, told, norm)])
        own.apply(own_gradients)
        other.apply(other_gradients)
    arrays = {"logs": np.array(logs)}
    for name, before, after in zip(("network", "discriminator"), drawn, (network, discriminator)):
        arrays.update({f"{name}_before_{number}": array for number, array in enumerate(before)})
        arrays.update({f"{name}_after_{number}": array for number, array in enumerate(from_torch(after))})
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
