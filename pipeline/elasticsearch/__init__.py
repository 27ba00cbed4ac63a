"""Elasticsearch: client, bulk requests and their responses, rejected documents, index templates, roles."""
