"""Wearables: decoders of GATT characteristics, sessions that never lose a stream in silence, and virtual wearables.

The decoders are pure (bytes in, a frozen value or `DecodeError` out). `session.WearableSession` carries one
wearable's items to its patient's monitor; `radio` says over which radio: the box's own (bleak on BlueZ) or a
virtual one in this process (bleak on bumble). `virtual` holds wearables that measure a simulated or replayed body.
"""
