"""The gateway's side of the operator's network: its identity, its outbox, the slots, and the link.

What leaves has constant size and rhythm: one envelope a slot, one statement an epoch, patients or
none. `bedside recipient`, the care team's end of the sealed alerts, lives here too.
"""
