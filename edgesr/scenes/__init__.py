"""Whole scenes through a network, at constant memory."""
