"""What a lesson is made of: its dials, its measured claims, the grading of its exercises, its drawings.

Nothing in the library imports this room. `figures` and `diagrams` need matplotlib and are imported by name:
``from kerasllm.course.figures import curves, show``.
"""

from kerasllm.course.claims import CLAIM_MIME, Claim, ClaimError, Claims, claim
from kerasllm.course.dials import SCALES, dial, scale
from kerasllm.course.grading import Case, ExerciseError, between, case, check

__all__ = [
    "CLAIM_MIME",
    "SCALES",
    "Case",
    "Claim",
    "ClaimError",
    "Claims",
    "ExerciseError",
    "between",
    "case",
    "check",
    "claim",
    "dial",
    "scale",
]
