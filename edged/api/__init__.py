"""The doors: a Kubernetes-compatible API over HTTPS and a Unix socket, kubeconfigs, metrics."""
