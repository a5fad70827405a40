"""Muon, an optimizer that gives a kernel's update the same size in every direction."""

from __future__ import annotations

from deepdeblur_tf.compat import slot_index, tf

_MOMENTUM = 0.95
_BIASES = 0.1  # of the learning rate
# A quintic iteration that brings all singular values near 1 in five steps, from as little as 0.003 (Jordan).
_QUINTIC, _STEPS = (3.4445, -4.7750, 2.0315), 5


class Muon(tf.keras.optimizers.Adam):
    """Muon for kernels from a number of channels to as many, above all the residual blocks', and Adam for all else.

    The running mean of such a kernel's gradient, as a matrix from k k C inputs to C outputs, is brought near the
    closest orthogonal matrix, so that what is rare in the gradients is learned as fast as what is frequent (Jordan et
    al., Muon: An optimizer for hidden layers in neural networks, 2024). It is multiplied by the root of inputs /
    outputs, which is k; the authors' code does not. For 32 channels and k = 3 the root of its elements' mean square is
    then 0.18, about that of Adam's steps, so that both share a learning rate. Biases have a tenth of it. There is no
    weight decay.

    Wide kernels move no farther than narrow ones, and biases less far, or gradients' noise makes outputs of blocks of
    128 channels negative for every input: a ReLU ends their learning for good (experiments/photographs.md).

    Args:
        As `tf.keras.optimizers.Adam`; the betas and epsilon are those of Adam's part.
    """

    def update_step(self, gradient, variable, *learning_rate):  # Keras 3 gives the rate, Keras 2 keeps it
        shape = variable.shape
        if len(shape) != 4 or shape[2] != shape[3]:
            before = tf.identity(variable)
            super().update_step(gradient, variable, *learning_rate)
            if len(shape) == 1:
                variable.assign(before + _BIASES * (variable - before))
            return
        mean = self._momentums[slot_index(self, variable)]
        mean.assign(_MOMENTUM * mean + (1 - _MOMENTUM) * gradient)
        direction = (1 - _MOMENTUM) * gradient + _MOMENTUM * mean  # Nesterov's
        update = _orthogonalized(tf.reshape(direction, (-1, shape[3])))
        update *= (update.shape[0] / update.shape[1]) ** 0.5
        rate = tf.cast(*(learning_rate or [self.learning_rate]), variable.dtype)
        variable.assign_sub(rate * tf.reshape(update, shape))


def _orthogonalized(matrix):
    """A matrix [M, N], M >= N, with its singular values near 1."""
    a, b, c = _QUINTIC
    matrix /= tf.norm(matrix) + 1e-12
    # Each step multiplies the matrix by a polynomial of its Gram matrix. All of these commute, so that they are
    # multiplied first, N x N, and the tall matrix is multiplied once: a quarter of the time for 128 channels.
    gram = tf.matmul(matrix, matrix, transpose_a=True)
    identity = tf.eye(gram.shape[0])
    product = identity
    for _ in range(_STEPS):
        polynomial = a * identity + b * gram + c * tf.matmul(gram, gram)
        product = tf.matmul(product, polynomial)
        gram = tf.matmul(tf.matmul(polynomial, gram), polynomial)
    return tf.matmul(matrix, product)
