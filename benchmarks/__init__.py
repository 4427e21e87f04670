"""Figures: how quick it is, and whether that lasts."""
