"""From raw outputs to what a person wants: boxes, masks, keypoints, words, pictures; NumPy, once, on the host."""
