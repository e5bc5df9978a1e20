"""The signal room: streaming ECG and pulse-wave analysis with NumPy and SciPy alone.

Arrays and states go in, arrays and states come out; no clock, file, socket or global state. Every
design is frozen and its memory travels beside it, so a stream can be saved, forked and replayed, and
gives the same results bit for bit however it was cut into blocks.
"""
