"""One patient's stream: items from wearables in, events and display waves out. Pure: no clock, file or socket."""
