"""Documents that Elasticsearch rejects for their content: fallback documents, the log and the rate of rejections."""
