"""The network as ONNX files: which graphs there are, how they are made, and the manifest that vouches for them."""
