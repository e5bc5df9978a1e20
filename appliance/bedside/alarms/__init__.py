"""Alarms: findings, beats, numerics and links in; alarm states out, by one versioned table of conditions.

`PatientWatch` is what the gateway and `bedside analyze` both run for a patient: monitor and alarms
together. Pure: no clock, file, socket or asyncio; time comes with what is fed.
"""
