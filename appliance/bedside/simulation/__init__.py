"""Simulated and replayed bodies: what virtual wearables measure.

Everything here is a pure function of a seed and of the time since the body's beginning: any part of
a signal may be asked for, in any order and cut in any way, and is the same each time. No clock, file,
socket or asyncio. What is generated says that it is simulated.
"""
