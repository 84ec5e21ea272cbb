"""`python -m caffe2lrp` is the command line."""

from caffe2lrp.cli import main

main()
