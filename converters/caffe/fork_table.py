"""Messages of forks of Caffe, a part of the table of `schema`.

Numbers are those of the forks that brought a type: SSD (weiliu89), DeepLab, PSPNet, ShuffleNet, Fast R-CNN, BVLC
itself for Clip and Swish, which it got last. A fork that numbered otherwise can be read from its prototxt. SegNet
gave `bn_mode` a number that others gave to something else; the one here is for files that caffe2lrp writes.
"""

FORK_TABLE = """
PermuteParameter
  1 order uint*

LayerParameter of Permute
  202 permute_param PermuteParameter

ShuffleChannelParameter
  1 group uint =1

LayerParameter of ShuffleChannel
  164 shuffle_channel_param ShuffleChannelParameter

NormalizeParameter
  1 across_spatial bool =true
  2 scale_filler FillerParameter
  3 channel_shared bool =true
  4 eps float =0.0000000001

LayerParameter of Normalize
  206 norm_param NormalizeParameter

PriorBoxParameter
  1 min_size float*
  2 max_size float*
  3 aspect_ratio float*
  4 flip bool =true
  5 clip bool =false
  6 variance float*
  7 img_size uint =0
  8 img_h uint =0
  9 img_w uint =0
  10 step float =0
  11 step_h float =0
  12 step_w float =0
  13 offset float =0.5

LayerParameter of PriorBox
  203 prior_box_param PriorBoxParameter

NonMaximumSuppressionParameter
  1 nms_threshold float =0.3
  2 top_k int =-1
  3 eta float =1

SaveOutputParameter
  1 output_directory string
  2 output_name_prefix string
  3 output_format string
  4 label_map_file string
  5 name_size_file string
  6 num_test_image uint
  7 resize_param ResizeParameter

DetectionOutputParameter
  1 num_classes uint =0
  2 share_location bool =true
  3 background_label_id int =0
  4 nms_param NonMaximumSuppressionParameter
  5 save_output_param SaveOutputParameter
  6 code_type BoxCode =CORNER
  7 keep_top_k int =-1
  8 variance_encoded_in_target bool =false
  9 confidence_threshold float =nan
  10 visualize bool =false
  11 visualize_threshold float
  12 save_file string
  0 objectness_score float

LayerParameter of DetectionOutput
  204 detection_output_param DetectionOutputParameter

ClipParameter
  1 min float =nan
  2 max float =nan

LayerParameter of Clip
  148 clip_param ClipParameter

ReLU6Parameter
  1 negative_slope float =0
  2 engine Engine =DEFAULT

LayerParameter of ReLU6
  0 relu6_param ReLU6Parameter

SwishParameter
  1 beta float =1

LayerParameter of Swish
  147 swish_param SwishParameter

HardSigmoidParameter
  1 alpha float =0.2
  2 beta float =0.5

LayerParameter of HardSigmoid
  163 hardsigmoid_param HardSigmoidParameter
  0 hard_sigmoid_param HardSigmoidParameter

UpsampleParameter
  1 scale uint =2
  2 scale_h uint =0
  3 scale_w uint =0
  4 pad_out_h bool =false
  5 pad_out_w bool =false
  6 upsample_h uint =0
  7 upsample_w uint =0

LayerParameter of Upsample
  149 upsample_param UpsampleParameter

InterpParameter
  1 height int =0
  2 width int =0
  3 zoom_factor int
  4 shrink_factor int
  5 pad_beg int =0
  6 pad_end int =0

LayerParameter of Interp
  143 interp_param InterpParameter

V1LayerParameter of INTERP
  0 interp_param InterpParameter

ROIPoolingParameter
  1 pooled_h uint =0
  2 pooled_w uint =0
  3 spatial_scale float =1

LayerParameter of ROIPooling
  8266711 roi_pooling_param ROIPoolingParameter

BNParameter
  1 slope_filler FillerParameter
  2 bias_filler FillerParameter
  3 momentum float =0.9
  4 eps float =0.00001
  5 frozen bool =false
  6 engine Engine =DEFAULT
  0 scale_filler FillerParameter
  0 shift_filler FillerParameter
  1003 bn_mode BNMode
  0 var_eps float =0.000000001
  0 decay float
  0 moving_average bool
  0 axis int =1

LayerParameter of BN
  137 bn_param BNParameter
"""
