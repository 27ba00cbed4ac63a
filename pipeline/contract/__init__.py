"""Formats that others rely on: CRI lines, raw records, gaps, dead letters, pod metadata, ECS fields. Pure."""
