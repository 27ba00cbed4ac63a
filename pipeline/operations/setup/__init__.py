"""What `crisp setup` creates: topics, index templates, lifecycle policy, Kibana objects."""
