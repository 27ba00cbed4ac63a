"""What shipper and worker show of themselves: the facts, what follows from them, and the pages."""
