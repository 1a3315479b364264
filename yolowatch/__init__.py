"""yolowatch watches YOLO trainings and heals their out-of-memory failures."""

__version__ = "0.1.0"
