"""How fast and how large: clock, sampling, memory, statistics, yardsticks, environment and what was observed."""
