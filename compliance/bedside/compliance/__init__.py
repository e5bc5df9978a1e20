"""Evidence made from the running system and its tests, never typed twice."""
