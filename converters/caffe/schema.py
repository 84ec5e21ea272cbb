"""Caffe's messages as one table: it drives the text reader, the binary reader and the writer.

Each message is a line with its name, followed by its fields, one a line: number, name, type, then any of
``*`` (repeated), ``[packed]`` and ``=default``. Types are ``int`` (signed), ``uint``, ``float``, ``double``,
``bool``, ``string``, ``bytes``, ``floats`` and ``doubles`` (bulk data, kept as arrays), or the name of an
enum or of a message of the table. Number 0 marks fields of forks that are known from text files only.
``LayerParameter of Permute`` begins fields that only layers of that type have: forks give different things the
same number or name, and plug-ins do so, too.
Fields without meaning for a trained network (fillers, sources, engines) are listed so that they are known
and not reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from caffe2lrp.converters.caffe.fork_table import FORK_TABLE

SCALARS = frozenset({"int", "uint", "float", "double", "bool", "string", "bytes", "floats", "doubles"})

ENUMS: dict[str, dict[str, int]] = {
    "Phase": {"TRAIN": 0, "TEST": 1},
    "DimCheckMode": {"STRICT": 0, "PERMISSIVE": 1},
    "VarianceNorm": {"FAN_IN": 0, "FAN_OUT": 1, "AVERAGE": 2},
    "NormalizationMode": {"FULL": 0, "VALID": 1, "BATCH_SIZE": 2, "NONE": 3},
    "Engine": {"DEFAULT": 0, "CAFFE": 1, "CUDNN": 2},
    "DB": {"LEVELDB": 0, "LMDB": 1},
    "EltwiseOp": {"PROD": 0, "SUM": 1, "MAX": 2},
    "HingeNorm": {"L1": 1, "L2": 2},
    "NormRegion": {"ACROSS_CHANNELS": 0, "WITHIN_CHANNEL": 1},
    "PoolMethod": {"MAX": 0, "AVE": 1, "STOCHASTIC": 2},
    "RoundMode": {"CEIL": 0, "FLOOR": 1},
    "ReductionOp": {"SUM": 1, "ASUM": 2, "SUMSQ": 3, "MEAN": 4},
    "BoxCode": {"CORNER": 1, "CENTER_SIZE": 2, "CORNER_SIZE": 3},
    "BNMode": {"LEARN": 0, "INFERENCE": 1},
    # NVCaffe's element types of raw_data.
    "RawType": {"DOUBLE": 0, "FLOAT": 1, "FLOAT16": 2, "INT": 3, "UINT": 4},
    "V1LayerType": {
        "NONE": 0,
        "ACCURACY": 1,
        "BNLL": 2,
        "CONCAT": 3,
        "CONVOLUTION": 4,
        "DATA": 5,
        "DROPOUT": 6,
        "EUCLIDEAN_LOSS": 7,
        "FLATTEN": 8,
        "HDF5_DATA": 9,
        "HDF5_OUTPUT": 10,
        "IM2COL": 11,
        "IMAGE_DATA": 12,
        "INFOGAIN_LOSS": 13,
        "INNER_PRODUCT": 14,
        "LRN": 15,
        "MULTINOMIAL_LOGISTIC_LOSS": 16,
        "POOLING": 17,
        "RELU": 18,
        "SIGMOID": 19,
        "SOFTMAX": 20,
        "SOFTMAX_LOSS": 21,
        "SPLIT": 22,
        "TANH": 23,
        "WINDOW_DATA": 24,
        "ELTWISE": 25,
        "POWER": 26,
        "SIGMOID_CROSS_ENTROPY_LOSS": 27,
        "HINGE_LOSS": 28,
        "MEMORY_DATA": 29,
        "ARGMAX": 30,
        "THRESHOLD": 31,
        "DUMMY_DATA": 32,
        "SLICE": 33,
        "MVN": 34,
        "ABSVAL": 35,
        "SILENCE": 36,
        "CONTRASTIVE_LOSS": 37,
        "EXP": 38,
        "DECONVOLUTION": 39,
    },
}

_TABLE = """
BlobShape
  1 dim int* [packed]

BlobProto
  1 num int =0
  2 channels int =0
  3 height int =0
  4 width int =0
  5 data floats* [packed]
  6 diff floats* [packed]
  7 shape BlobShape
  8 double_data doubles* [packed]
  9 double_diff doubles* [packed]
  10 raw_data_type RawType =FLOAT
  11 raw_diff_type RawType =FLOAT
  12 raw_data bytes
  13 raw_diff bytes

FillerParameter
  1 type string =constant
  2 value float =0
  3 min float =0
  4 max float =1
  5 mean float =0
  6 std float =1
  7 sparse int =-1
  8 variance_norm VarianceNorm =FAN_IN

NetParameter
  1 name string
  2 layers V1LayerParameter*
  3 input string*
  4 input_dim int*
  5 force_backward bool =false
  6 state NetState
  7 debug_info bool =false
  8 input_shape BlobShape*
  100 layer LayerParameter*

NetState
  1 phase Phase =TEST
  2 level int =0
  3 stage string*

NetStateRule
  1 phase Phase
  2 min_level int
  3 max_level int
  4 stage string*
  5 not_stage string*

ParamSpec
  1 name string
  2 share_mode DimCheckMode
  3 lr_mult float =1
  4 decay_mult float =1

LayerParameter
  1 name string
  2 type string
  3 bottom string*
  4 top string*
  5 loss_weight float*
  6 param ParamSpec*
  7 blobs BlobProto*
  8 include NetStateRule*
  9 exclude NetStateRule*
  10 phase Phase
  11 propagate_down bool*
  100 transform_param TransformationParameter
  101 loss_param LossParameter
  102 accuracy_param AccuracyParameter
  103 argmax_param ArgMaxParameter
  104 concat_param ConcatParameter
  105 contrastive_loss_param ContrastiveLossParameter
  106 convolution_param ConvolutionParameter
  107 data_param DataParameter
  108 dropout_param DropoutParameter
  109 dummy_data_param DummyDataParameter
  110 eltwise_param EltwiseParameter
  111 exp_param ExpParameter
  112 hdf5_data_param HDF5DataParameter
  113 hdf5_output_param HDF5OutputParameter
  114 hinge_loss_param HingeLossParameter
  115 image_data_param ImageDataParameter
  116 infogain_loss_param InfogainLossParameter
  117 inner_product_param InnerProductParameter
  118 lrn_param LRNParameter
  119 memory_data_param MemoryDataParameter
  120 mvn_param MVNParameter
  121 pooling_param PoolingParameter
  122 power_param PowerParameter
  123 relu_param ReLUParameter
  124 sigmoid_param SigmoidParameter
  125 softmax_param SoftmaxParameter
  126 slice_param SliceParameter
  127 tanh_param TanHParameter
  128 threshold_param ThresholdParameter
  129 window_data_param WindowDataParameter
  130 python_param PythonParameter
  131 prelu_param PReLUParameter
  132 spp_param SPPParameter
  133 reshape_param ReshapeParameter
  134 log_param LogParameter
  135 flatten_param FlattenParameter
  136 reduction_param ReductionParameter
  137 embed_param EmbedParameter
  138 tile_param TileParameter
  139 batch_norm_param BatchNormParameter
  140 elu_param ELUParameter
  141 bias_param BiasParameter
  142 scale_param ScaleParameter
  143 input_param InputParameter
  144 crop_param CropParameter
  145 parameter_param ParameterParameter
  146 recurrent_param RecurrentParameter

TransformationParameter
  1 scale float =1
  2 mirror bool =false
  3 crop_size uint =0
  4 mean_file string
  5 mean_value float*
  6 force_color bool =false
  7 force_gray bool =false
  8 resize_param ResizeParameter

ResizeParameter
  1 prob float =1
  2 resize_mode uint =1
  3 height uint =0
  4 width uint =0

LossParameter
  1 ignore_label int
  2 normalize bool
  3 normalization NormalizationMode =VALID

AccuracyParameter
  1 top_k uint =1
  2 axis int =1
  3 ignore_label int

ArgMaxParameter
  1 out_max_val bool =false
  2 top_k uint =1
  3 axis int

BatchNormParameter
  1 use_global_stats bool
  2 moving_average_fraction float =0.999
  3 eps float =0.00001

BiasParameter
  1 axis int =1
  2 num_axes int =1
  3 filler FillerParameter

ConcatParameter
  1 concat_dim uint =1
  2 axis int =1

ContrastiveLossParameter
  1 margin float =1
  2 legacy_version bool =false

ConvolutionParameter
  1 num_output uint =0
  2 bias_term bool =true
  3 pad uint*
  4 kernel_size uint*
  5 group uint =1
  6 stride uint*
  7 weight_filler FillerParameter
  8 bias_filler FillerParameter
  9 pad_h uint =0
  10 pad_w uint =0
  11 kernel_h uint =0
  12 kernel_w uint =0
  13 stride_h uint =0
  14 stride_w uint =0
  15 engine Engine =DEFAULT
  16 axis int =1
  17 force_nd_im2col bool =false
  18 dilation uint*
  7777 pad_shape BlobShape
  7778 kernel_shape BlobShape
  7779 stride_shape BlobShape
  0 kernel_depth uint =0
  0 temporal_stride uint =1
  0 temporal_pad uint =0
  0 filter_group uint =1

CropParameter
  1 axis int =2
  2 offset uint*

DataParameter
  1 source string
  2 scale float =1
  3 mean_file string
  4 batch_size uint
  5 crop_size uint =0
  6 mirror bool =false
  7 rand_skip uint =0
  8 backend DB =LEVELDB
  9 force_encoded_color bool =false
  10 prefetch uint =4

DropoutParameter
  1 dropout_ratio float =0.5

DummyDataParameter
  1 data_filler FillerParameter*
  2 num uint*
  3 channels uint*
  4 height uint*
  5 width uint*
  6 shape BlobShape*

EltwiseParameter
  1 operation EltwiseOp =SUM
  2 coeff float*
  3 stable_prod_grad bool =true

ELUParameter
  1 alpha float =1

EmbedParameter
  1 num_output uint
  2 input_dim uint
  3 bias_term bool =true
  4 weight_filler FillerParameter
  5 bias_filler FillerParameter

ExpParameter
  1 base float =-1
  2 scale float =1
  3 shift float =0

FlattenParameter
  1 axis int =1
  2 end_axis int =-1

HDF5DataParameter
  1 source string
  2 batch_size uint
  3 shuffle bool =false

HDF5OutputParameter
  1 file_name string

HingeLossParameter
  1 norm HingeNorm =L1

ImageDataParameter
  1 source string
  2 scale float =1
  3 mean_file string
  4 batch_size uint =1
  5 crop_size uint =0
  6 mirror bool =false
  7 rand_skip uint =0
  8 shuffle bool =false
  9 new_height uint =0
  10 new_width uint =0
  11 is_color bool =true
  12 root_folder string

InfogainLossParameter
  1 source string
  2 axis int =1

InnerProductParameter
  1 num_output uint =0
  2 bias_term bool =true
  3 weight_filler FillerParameter
  4 bias_filler FillerParameter
  5 axis int =1
  6 transpose bool =false

InputParameter
  1 shape BlobShape*

LogParameter
  1 base float =-1
  2 scale float =1
  3 shift float =0

LRNParameter
  1 local_size uint =5
  2 alpha float =1
  3 beta float =0.75
  4 norm_region NormRegion =ACROSS_CHANNELS
  5 k float =1
  6 engine Engine =DEFAULT

MemoryDataParameter
  1 batch_size uint =0
  2 channels uint =0
  3 height uint =0
  4 width uint =0

MVNParameter
  1 normalize_variance bool =true
  2 across_channels bool =false
  3 eps float =0.000000001

ParameterParameter
  1 shape BlobShape

PoolingParameter
  1 pool PoolMethod =MAX
  2 kernel_size uint =0
  3 stride uint =1
  4 pad uint =0
  5 kernel_h uint =0
  6 kernel_w uint =0
  7 stride_h uint =0
  8 stride_w uint =0
  9 pad_h uint =0
  10 pad_w uint =0
  11 engine Engine =DEFAULT
  12 global_pooling bool =false
  13 round_mode RoundMode =CEIL
  7777 pad_shape BlobShape
  7778 kernel_shape BlobShape
  7779 stride_shape BlobShape
  0 ceil_mode bool =true
  0 kernel_depth uint =0
  0 temporal_stride uint =1
  0 temporal_pad uint =0

PowerParameter
  1 power float =1
  2 scale float =1
  3 shift float =0

PReLUParameter
  1 filler FillerParameter
  2 channel_shared bool =false

PythonParameter
  1 module string
  2 layer string
  3 param_str string
  4 share_in_parallel bool =false

RecurrentParameter
  1 num_output uint =0
  2 weight_filler FillerParameter
  3 bias_filler FillerParameter
  4 debug_info bool =false
  5 expose_hidden bool =false

ReductionParameter
  1 operation ReductionOp =SUM
  2 axis int =0
  3 coeff float =1

ReLUParameter
  1 negative_slope float =0
  2 engine Engine =DEFAULT

ReshapeParameter
  1 shape BlobShape
  2 axis int =0
  3 num_axes int =-1

ScaleParameter
  1 axis int =1
  2 num_axes int =1
  3 filler FillerParameter
  4 bias_term bool =false
  5 bias_filler FillerParameter

SigmoidParameter
  1 engine Engine =DEFAULT

SliceParameter
  1 slice_dim uint =1
  2 slice_point uint*
  3 axis int =1

SoftmaxParameter
  1 engine Engine =DEFAULT
  2 axis int =1

SPPParameter
  1 pyramid_height uint
  2 pool PoolMethod =MAX
  6 engine Engine =DEFAULT

TanHParameter
  1 engine Engine =DEFAULT

ThresholdParameter
  1 threshold float =0

TileParameter
  1 axis int =1
  2 tiles int

WindowDataParameter
  1 source string
  2 scale float =1
  3 mean_file string
  4 batch_size uint
  5 crop_size uint =0
  6 mirror bool =false
  7 fg_threshold float =0.5
  8 bg_threshold float =0.5
  9 fg_fraction float =0.25
  10 context_pad uint =0
  11 crop_mode string =warp
  12 cache_images bool =false
  13 root_folder string

V1LayerParameter
  1 layer V0LayerParameter
  2 bottom string*
  3 top string*
  4 name string
  5 type V1LayerType
  6 blobs BlobProto*
  7 blobs_lr float*
  8 weight_decay float*
  9 concat_param ConcatParameter
  10 convolution_param ConvolutionParameter
  11 data_param DataParameter
  12 dropout_param DropoutParameter
  13 hdf5_data_param HDF5DataParameter
  14 hdf5_output_param HDF5OutputParameter
  15 image_data_param ImageDataParameter
  16 infogain_loss_param InfogainLossParameter
  17 inner_product_param InnerProductParameter
  18 lrn_param LRNParameter
  19 pooling_param PoolingParameter
  20 window_data_param WindowDataParameter
  21 power_param PowerParameter
  22 memory_data_param MemoryDataParameter
  23 argmax_param ArgMaxParameter
  24 eltwise_param EltwiseParameter
  25 threshold_param ThresholdParameter
  26 dummy_data_param DummyDataParameter
  27 accuracy_param AccuracyParameter
  29 hinge_loss_param HingeLossParameter
  30 relu_param ReLUParameter
  31 slice_param SliceParameter
  32 include NetStateRule*
  33 exclude NetStateRule*
  34 mvn_param MVNParameter
  35 loss_weight float*
  36 transform_param TransformationParameter
  37 tanh_param TanHParameter
  38 sigmoid_param SigmoidParameter
  39 softmax_param SoftmaxParameter
  40 contrastive_loss_param ContrastiveLossParameter
  41 exp_param ExpParameter
  42 loss_param LossParameter
  1001 param string*
  1002 blob_share_mode DimCheckMode*

V0LayerParameter
  1 name string
  2 type string
  3 num_output uint
  4 biasterm bool =true
  5 weight_filler FillerParameter
  6 bias_filler FillerParameter
  7 pad uint =0
  8 kernelsize uint
  9 group uint =1
  10 stride uint =1
  11 pool PoolMethod =MAX
  12 dropout_ratio float =0.5
  13 local_size uint =5
  14 alpha float =1
  15 beta float =0.75
  16 source string
  17 scale float =1
  18 meanfile string
  19 batchsize uint
  20 cropsize uint =0
  21 mirror bool =false
  22 k float =1
  50 blobs BlobProto*
  51 blobs_lr float*
  52 weight_decay float*
  53 rand_skip uint =0
  54 det_fg_threshold float =0.5
  55 det_bg_threshold float =0.5
  56 det_fg_fraction float =0.25
  58 det_context_pad uint =0
  59 det_crop_mode string =warp
  60 new_num int =0
  61 new_channels int =0
  62 new_height int =0
  63 new_width int =0
  64 shuffle_images bool =false
  65 concat_dim uint =1
  1001 hdf5_output_param HDF5OutputParameter
"""

_ZERO: dict[str, Any] = {
    "int": 0,
    "uint": 0,
    "float": 0.0,
    "double": 0.0,
    "bool": False,
    "string": "",
    "bytes": b"",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes
    ----------
    name, number
        Name in text files, number in binary files.
    type
        A scalar type, an enum's or a message's name (see the module's docstring).
    repeated, packed
        Whether it may occur several times, and whether a binary writer packs the values.
    default
        Value where the file gives none; None for messages.
    """

    name: str
    number: int
    type: str
    repeated: bool = False
    packed: bool = False
    default: Any = None

    @property
    def is_message(self) -> bool:
        return self.type not in SCALARS and self.type not in ENUMS

    @property
    def is_bulk(self) -> bool:
        """Whether its values are kept as arrays."""
        return self.type in ("floats", "doubles")


@dataclass(slots=True)
class Schema:
    """A message type: its fields by name and by number.

    Attributes
    ----------
    of_type
        Of messages that describe a layer: the schema for layers of a type that has fields of its own.
    """

    name: str
    by_name: dict[str, Field] = field(default_factory=dict)
    by_number: dict[int, Field] = field(default_factory=dict)
    of_type: dict[str, Schema] = field(default_factory=dict, repr=False)

    def add(self, new: Field) -> None:
        """Add a field; one of the same name gives way."""
        old = self.by_name.pop(new.name, None)
        if old is not None:
            self.by_number.pop(old.number, None)
        self.by_name[new.name] = new
        if new.number:
            self.by_number[new.number] = new

    def copy(self, name: str | None = None) -> Schema:
        """A schema with the same fields, to which others can be added."""
        return Schema(name or self.name, dict(self.by_name), dict(self.by_number))

    def variant(self, kind: str) -> Schema:
        """The schema for layers of a type."""
        return self.of_type.get(kind, self)


def _parse_default(kind: str, text: str | None) -> Any:
    if kind in ENUMS:
        return text if text is not None else next(iter(ENUMS[kind]))
    if text is None or kind not in _ZERO:
        return _ZERO.get(kind)
    if kind == "bool":
        return text == "true"
    return type(_ZERO[kind])(text)


def _parse_field(line: str) -> Field:
    number, name, kind, *options = line.split()
    default = next((o[1:] for o in options if o.startswith("=")), None)
    bare = kind.rstrip("*")
    return Field(name, int(number), bare, kind.endswith("*"), "[packed]" in options, _parse_default(bare, default))


def _parse_table(table: str) -> dict[str, Schema]:
    schemas: dict[str, Schema] = {}
    current = Schema("")
    for line in filter(None, map(str.rstrip, table.splitlines())):
        if line.startswith(" "):
            current.add(_parse_field(line))
        elif " of " in line:
            name, _, kind = line.partition(" of ")
            current = schemas[name].of_type[kind] = schemas[name].copy()
        else:
            current = schemas[line] = Schema(line)
    return schemas


SCHEMAS: dict[str, Schema] = _parse_table(_TABLE + FORK_TABLE)
"""All messages by name."""
