"""The care site's auditor: a process of the site's own, on the site's own machine.

Once an epoch it asks each of the site's gateways to open the work that the operator's beacon picked, runs
the same models on the same tensors, and signs how many did not hold. The gateway's owner does not have its
key; the operator pays for what it signed, and sees nothing else of it.
"""
