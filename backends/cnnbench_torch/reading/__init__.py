"""PyTorch's modules as graphs: what ``torch.export`` gives, operation by operation."""
