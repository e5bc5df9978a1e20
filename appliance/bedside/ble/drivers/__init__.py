"""ECG wearables, one module each: how to start and stop one, and what its packets mean; `api` is the contract."""
