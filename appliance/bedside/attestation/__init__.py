"""What Bedside proves to others, made and verified: usage statements, sealed alert envelopes, the work tree.

Everything here is pure: bytes and values in, bytes and verdicts out. The gateway's `network` and the
operator's process both stand on it; keys, time, files and sockets are theirs.
"""
