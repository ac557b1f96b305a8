"""What a network is: layers, graphs, weights, losses and optimisers as data, with no framework."""
