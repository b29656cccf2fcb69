"""Settings for tests that run whole networks."""

import torch

# Workers of pytest-xdist that share the cores make OpenMP's threads wait for each other: the
# hundreds of tiny convolutions of a float64 depthwise layer then take half a minute, not 0.2 s.
torch.set_num_threads(1)
