"""The run, in four rooms: ``suite`` <- ``worker`` <- ``passes`` <- ``run``."""
