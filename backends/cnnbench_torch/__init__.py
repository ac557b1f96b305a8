"""The torch backend of cnnbench."""
