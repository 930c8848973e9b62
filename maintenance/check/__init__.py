"""Check: what stands in the way of a policy on a server, or will, found by looks that change nothing."""
