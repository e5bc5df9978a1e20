"""What every room shares: event and sample types, codes, ports, ids, time, errors, hashing, sealing."""
