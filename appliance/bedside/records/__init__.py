"""The records room: an encrypted store that loses nothing it called stored.

Samples, events and identities go into one SQLite database as sealed rows; the keys lie outside it.
`store.open_store` gives the one writer, `store.open_reader` looks on without writing, `cli.records`
is what a person types. Nothing but surrogate ids, bounds, schema, key and size is readable without the key.
"""
