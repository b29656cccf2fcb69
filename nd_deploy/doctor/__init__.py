"""What is installed here, what each part of the tool can do with it, and what would mend the rest.

Nothing is believed from a list: ONNX Runtime names providers whose libraries are missing, so each
one is tried on a model of a single node. What may hang or crash is looked at in processes of its
own; what does not fit is judged from the facts alone.
"""

from nd_deploy.doctor.capabilities import Capability
from nd_deploy.doctor.diagnosis import Diagnosis, diagnose, examine
from nd_deploy.doctor.facts import Facts
from nd_deploy.doctor.judge import Finding

__all__ = ["Capability", "Diagnosis", "Facts", "Finding", "diagnose", "examine"]
