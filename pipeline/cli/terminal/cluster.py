"""The options `--kube`, `--context` and `--namespace`: a cluster's pods instead of addresses."""

import argparse

from pipeline.config.settings import Settings
from pipeline.errors import UsageError
from pipeline.kubernetes.access import find_access
from pipeline.kubernetes.client import ApiClient


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--kube",
        action="store_true",
        help="find shippers and workers by the Kubernetes API, and read them through it; with CRISP_KUBECONFIG,"
        " KUBECONFIG, in a pod its service account, or ~/.kube/config",
    )
    parser.add_argument(
        "--context", default="", help="with --kube: this context of the kubeconfig; default: its current one"
    )
    parser.add_argument(
        "--namespace",
        metavar="NS",
        action="append",
        default=[],
        help="with --kube: only this namespace; may be repeated; default: all namespaces",
    )


def connect(args: argparse.Namespace, settings: Settings) -> ApiClient | None:
    """Return a client of the cluster with `--kube`, else None. Raises UsageError, KubernetesError."""
    if not args.kube:
        for option, value in (("--namespace", args.namespace), ("--context", args.context)):
            if value:
                raise UsageError(f"{option} needs --kube")
    return ApiClient(find_access(settings.kubeconfig, context=args.context)) if args.kube else None
