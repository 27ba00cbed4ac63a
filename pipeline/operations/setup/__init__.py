"""The objects that `crisp setup` creates: topics, index templates, lifecycle policies, Kibana objects."""
