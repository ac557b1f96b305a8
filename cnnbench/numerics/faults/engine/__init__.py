"""What every fault is made of: its type, injection, the networks in which it shows, the registry, the kill table."""
