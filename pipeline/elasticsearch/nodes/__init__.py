"""How the client library's nodes connect: bounded responses, no redirects, a pinned certificate."""
