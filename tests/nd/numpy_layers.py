"""The three layers once more, in float64 numpy and straight from the published formulas.

Kronecker products are formed, blocks are gathered by slicing and convolutions are loops, so that
nothing here shares a reshape with the code under test.
"""

import numpy as np


def batches(shape, count, seed=0):
    """Correlated batches with a mean, which leave whitening something to do."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(shape[1], shape[1]))
    for _ in range(count):
        x = np.einsum("nc...,cd->nd...", rng.normal(size=shape) + 0.7, mixing)
        yield np.ascontiguousarray(x)


def inverse_root(A, steps):
    scale = np.sqrt((A**2).sum())
    Y, Z, eye = A / scale, np.eye(len(A)), np.eye(len(A))
    for _ in range(steps):
        T = (3 * eye - Z @ Y) / 2
        Y, Z = Y @ T, T @ Z
    return Z / np.sqrt(scale)


def patches(x, kernel, stride, padding, dilation):
    """(N, C k^2, outputs high, outputs wide), zeros around the input."""
    x = np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    reach = [dilation * (k - 1) + 1 for k in kernel]
    rows = range(0, x.shape[2] - reach[0] + 1, stride[0])
    columns = range(0, x.shape[3] - reach[1] + 1, stride[1])
    out = np.empty((x.shape[0], x.shape[1] * kernel[0] * kernel[1], len(rows), len(columns)))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            window = x[:, :, top : top + reach[0] : dilation, left : left + reach[1] : dilation]
            out[:, :, i, j] = window.reshape(len(x), -1)
    return out


class NumpyFastDeconv:
    def __init__(self, weight, bias, block, stride, padding, dilation, groups, sampling, eps, n):
        self.W, self.b = weight, np.zeros(len(weight)) if bias is None else bias
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups, self.sampling, self.eps, self.n = groups, sampling, eps, n
        self.kernel = weight.shape[2:]
        self.channels = weight.shape[1] * groups
        self.F = self.kernel[0] * self.kernel[1] * block
        self.shared = self.channels // block
        self.mean = np.zeros(self.F * groups)
        self.D = np.eye(self.F) if groups == 1 else np.stack([np.eye(self.F)] * groups)

    def train(self, x, momentum=0.1):
        sampled = [self.sampling * s for s in self.stride]
        if self.kernel == (1, 1):
            rows = x.transpose(0, 2, 3, 1).reshape(-1, self.channels)[:: sampled[0] * sampled[1]]
        else:
            cols = patches(x, self.kernel, sampled, self.padding, self.dilation)
            rows = np.concatenate([c.reshape(len(c), -1).T for c in cols])
        if self.groups == 1:
            mean, D = self._moments(
                np.concatenate([rows[:, g :: self.shared] for g in range(self.shared)])
            )
        else:
            each = [self._moments(part) for part in np.split(rows, self.groups, axis=1)]
            mean, D = np.concatenate([m for m, _ in each]), np.stack([d for _, d in each])
        self.mean = (1 - momentum) * self.mean + momentum * mean
        self.D = (1 - momentum) * self.D + momentum * D
        return self._forward(x, mean, D)

    def eval(self, x):
        return self._forward(x, self.mean, self.D)

    def _moments(self, samples):
        mean = samples.mean(0)
        cov = (samples - mean).T @ (samples - mean) / len(samples)
        return mean, inverse_root(cov + self.eps * np.eye(self.F), self.n)

    def _forward(self, x, mean, D):
        if self.groups == 1:
            mean, D = (
                np.kron(mean, np.ones(self.shared))[None],
                np.kron(D, np.eye(self.shared))[None],
            )
        else:
            mean = mean.reshape(self.groups, -1)
        out = []
        cols = patches(x, self.kernel, self.stride, self.padding, self.dilation)
        for g, (w, b, x_g) in enumerate(
            zip(
                np.split(self.W.reshape(len(self.W), -1), self.groups),
                np.split(self.b, self.groups),
                np.split(cols, self.groups, axis=1),
                strict=True,
            )
        ):
            folded = w @ D[g]
            y = np.einsum("of,nfhw->nohw", folded, x_g)
            out.append(y + (b - folded @ mean[g])[:, None, None])
        return np.concatenate(out, axis=1)


class NumpyDelinear:
    def __init__(self, weight, bias, block, eps, n):
        self.W, self.b = weight, np.zeros(len(weight)) if bias is None else bias
        self.block, self.eps, self.n = block, eps, n
        self.mean, self.D = np.zeros(block), np.eye(block)

    def train(self, x, momentum=0.1):
        flat = x.reshape(-1, x.shape[-1])
        samples = np.concatenate(
            [flat[:, j : j + self.block] for j in range(0, flat.shape[1], self.block)]
        )
        mean = samples.mean(0)
        cov = (samples - mean).T @ (samples - mean) / len(samples)
        D = inverse_root(cov + self.eps * np.eye(self.block), self.n)
        self.mean = (1 - momentum) * self.mean + momentum * mean
        self.D = (1 - momentum) * self.D + momentum * D
        return self._forward(x, mean, D)

    def eval(self, x):
        return self._forward(x, self.mean, self.D)

    def _forward(self, x, mean, D):
        shared = self.W.shape[1] // self.block
        centred = x - np.kron(np.ones(shared), mean)
        return centred @ (self.W @ np.kron(np.eye(shared), D)).T + self.b


class NumpyChannelDeconv:
    def __init__(self, block, eps, n, sampling):
        self.block, self.eps, self.n, self.sampling = block, eps, n, sampling
        self.mean, self.D, self.mean2, self.var = np.zeros(block), np.eye(block), 0.0, 1.0
        self.steps = 0

    def train(self, x):
        maps = x.reshape(*x.shape[:2], *(x.shape[2:] or (1, 1)))
        small = min(maps.shape[2:]) < self.sampling
        every = 1 if small else self.sampling**2
        momentum = 0.1 if self.steps else 1.0
        whole = x.shape[1] // self.block * self.block
        mean, D, mean2, var = self.mean, self.D, self.mean2, self.var
        if whole:
            shared = whole // self.block
            rows = np.stack(
                [
                    np.concatenate([maps[:, b * shared + g].ravel() for g in range(shared)])
                    for b in range(self.block)
                ]
            )[:, ::every]
            mean = rows.mean(1)
            moment = rows @ rows.T / rows.shape[1]
            D = inverse_root(moment + self.eps * np.eye(self.block), self.n)
            self.mean = (1 - momentum) * self.mean + momentum * mean
            self.D = (1 - momentum) * self.D + momentum * D
        if whole < x.shape[1]:
            values = np.concatenate([image[whole:].ravel()[None] for image in maps])[:, ::every]
            mean2 = values.mean()
            var = ((values - mean2) ** 2).sum() / (values.size - 1)
            self.mean2 = (1 - momentum) * self.mean2 + momentum * mean2
            self.var = (1 - momentum) * self.var + momentum * var
        self.steps += 1
        return self._forward(x, mean, D, mean2, var)

    def eval(self, x):
        return self._forward(x, self.mean, self.D, self.mean2, self.var)

    def _forward(self, x, mean, D, mean2, var):
        whole = x.shape[1] // self.block * self.block
        shared = whole // self.block
        y = np.moveaxis(x, 1, -1).copy()
        if whole:
            centred = y[..., :whole] - np.kron(mean, np.ones(shared))
            y[..., :whole] = centred @ np.kron(D, np.eye(shared)).T
        y[..., whole:] = (y[..., whole:] - mean2) / np.sqrt(var + self.eps)
        return np.moveaxis(y, -1, 1)
