"""Layer types of your own: a class that is registered, and everything works with it. See docs/own-layers.md.

- `layer` has the base class, whose methods say what can be written;
- `register` enters a class into the tables of all rooms, `fields` makes its attributes a Caffe message;
- `running` puts its NumPy functions into programs, `blame` turns what goes wrong in it into one clear error;
- `files` loads plug-in files.
"""

from caffe2lrp.layers.base import Shape, ShapeError
from caffe2lrp.plugin.blame import PluginError
from caffe2lrp.plugin.files import load_file
from caffe2lrp.plugin.layer import OwnLayer
from caffe2lrp.plugin.register import register_layer, unregister_layer

__all__ = [
    "OwnLayer",
    "PluginError",
    "Shape",
    "ShapeError",
    "load_file",
    "register_layer",
    "unregister_layer",
]
