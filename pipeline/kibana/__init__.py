"""What Kibana gets: a data view, saved searches, a dashboard; and how they come into it."""
