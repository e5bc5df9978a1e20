"""The models room: beat windows in, beat classes out, by small int8 networks that the box itself runs.

Inference needs NumPy and tflite-runtime or ai-edge-litert; training (`bedside train`) is an extra.
"""
