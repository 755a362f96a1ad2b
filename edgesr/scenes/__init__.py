"""Whole scenes and archives of scenes, at constant memory."""
