"""The ward on this box: each patient's supervised session, the recorder, what is shown, and the local socket.

It knows sources, store and link only by the ports of `bedside.core`; `bedside.gateway` wires them.
"""
