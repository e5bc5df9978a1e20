"""The operator's process: another party, which receives statements and sealed envelopes and knows nothing more.

It verifies, keeps and answers. The embedded one serves a box of its own; it never shares a key, an
account or a database with the gateway.
"""
