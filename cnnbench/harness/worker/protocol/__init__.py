"""Every exchange between parent and worker: one request type and one reply type each, and the events in between.

Arrays travel as safetensors files, of which messages carry the paths.
"""
