"""The pages that a care team looks at: their own process, without any key to the records.

Everything shown comes from the gateway over its Unix socket (`gateway_client`, `feed`); `access` lets in
who holds a one-time link or a session; `app` and `api` are the Flask side, `serve` the process, and
`static/` the pages' own JavaScript modules and styles. Nothing is fetched from anywhere but this process.
"""
