"""Everything that knows Elasticsearch: bulk requests and their answers, templates, the client."""
