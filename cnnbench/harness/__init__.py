"""The run: suites become plans, plans become cells, workers run cells, records keep what was seen."""
