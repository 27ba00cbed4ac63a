"""The Kubernetes API by HTTP: a service account in a pod, or a kubeconfig. No API models: they need much memory."""
