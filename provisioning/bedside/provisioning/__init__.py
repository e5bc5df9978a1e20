"""Making a box fit for its place: what is wrong with it, and what to do."""
