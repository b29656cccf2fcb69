"""What a user can do wrong, as exceptions that say how to put it right.

An `NdDeployError` reaches the user as a message without a traceback; anything else is a bug and
shows one. `exit_code` is what the command line ends with:

* 1, the input is wrong;
* 2, the parity gates failed;
* 3, something was built or run otherwise than asked.
"""


class NdDeployError(Exception):
    """A failure whose cause lies outside nd-deploy.

    Both texts start in lower case, unless with a name or a quotation, and end without a full stop.

    Args:
        problem: what is wrong, naming the file, the layer or the flag.
        remedy: what to do about it.
    """

    exit_code = 1

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}\n{remedy}")


class InputError(NdDeployError):
    """An argument, a file or a shape is not what it has to be."""


class CheckpointError(InputError):
    """A checkpoint cannot be read, or does not fit the network."""


class UnsupportedLayerError(InputError):
    """A layer keeps a deconvolution buffer but computes none of the known formulas."""


class ExportError(InputError):
    """The network cannot be turned into ONNX."""


class GraphError(InputError):
    """An ONNX model is not one that nd-deploy can work on."""


class BundleError(InputError):
    """A folder is no bundle, or is no longer the one that was written."""


class MissingDependencyError(NdDeployError):
    """An optional dependency is needed and absent."""


class ParityError(NdDeployError):
    """A parity gate failed: the deployed model is not the trained network."""

    exit_code = 2


class BackendError(NdDeployError):
    """Something was built or run otherwise than asked."""

    exit_code = 3
