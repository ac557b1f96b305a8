"""R-CNN whole: regions from a segmentation, warped crops, features, linear classifiers, suppression, box regression."""
