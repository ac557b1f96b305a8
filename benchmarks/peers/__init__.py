"""Networks written by hand, as a user of the framework would, with the names of cnnbench's weights."""
