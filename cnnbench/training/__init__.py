"""Does it learn: datasets, batches, schedules, augmentation, the training loop and its checkpoints.

``train`` drives any backend's step program with the same batches, masks, rates and initial weights, all drawn on the
host from streams keyed by the seed, so that the curves of two backends differ by arithmetic alone.
"""
