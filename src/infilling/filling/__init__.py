"""Engines that fill holes, and the one pipeline that every surface calls."""
