"""How good an explanation is: region perturbation, localisation and complexity.

`perturbation` follows Samek et al. 2017, `localisation` compares maps with boxes and masks, `complexity` measures maps
alone, `study` goes through images and methods and keeps what is done, `summary` and `drawing` tell the outcome.
"""

from caffe2lrp.evaluation.complexity import entropy, file_size
from caffe2lrp.evaluation.localisation import mass_accuracy, rank_accuracy, read_boxes
from caffe2lrp.evaluation.perturbation import OPERATORS, Perturbation, aopc, curve, region_order

__all__ = [
    "OPERATORS",
    "Perturbation",
    "aopc",
    "curve",
    "entropy",
    "file_size",
    "mass_accuracy",
    "rank_accuracy",
    "read_boxes",
    "region_order",
]
