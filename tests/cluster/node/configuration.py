"""The configuration of a node's programs, as their documentation describes it. Values are this node's."""

import json

from tests.cluster.node.layout import ADDRESS, ADMIN_TOKEN, CGROUP, KUBELET_TOKEN, NAME, PAUSE_IMAGE, Layout

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


def containerd(layout: Layout) -> str:
    """containerd's config.toml, version 3."""
    return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{PAUSE_IMAGE}"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true # lower than its own needs CAP_SYS_RESOURCE
  disable_apparmor = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{layout.cni}"]
    conf_dir = "/run/cni/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "{layout.runc}"
        SystemdCgroup = false
"""


def pod_network() -> str:
    """A CNI configuration: a bridge, and ports of the host."""
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni/ipam",
        "ranges": [[{"subnet": "10.244.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipMasq": False, "ipam": ipam}
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins})


def kubelet(layout: Layout) -> str:
    """The KubeletConfiguration; JSON is YAML. Logs are rotated early, so that it can be seen."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{CGROUP}",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": [],
            "oomScoreAdj": 0,
            "containerLogMaxSize": "100Ki",
            "containerLogMaxFiles": 3,
            "containerLogMonitorInterval": "3s",
            "clusterDNS": [ADDRESS],
            "clusterDomain": "cluster.local",
            "resolvConf": "/run/resolv.conf",
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "nodeStatusUpdateFrequency": "5s",
            "syncFrequency": "10s",
            "staticPodPath": "/run/static",
            **layout.settings,
        }
    )


def kube_proxy(layout: Layout) -> str:
    """The KubeProxyConfiguration: iptables, and no limit of connections that the machine would keep."""
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": "10.244.0.0/24",
            "hostnameOverride": NAME,
            "clientConnection": {"kubeconfig": str(layout.kubeconfig)},
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
    )


def corefile(layout: Layout) -> str:
    """CoreDNS's configuration: the names of services, nothing else."""
    services = f"kubernetes cluster.local {{\n  kubeconfig {layout.kubeconfig} c\n }}"
    return f".:53 {{\n bind {ADDRESS}\n errors\n {services}\n}}\n"


def kubeconfig(layout: Layout, token: str) -> str:
    """The kubeconfig of one user."""
    cluster = {"server": f"https://{ADDRESS}:6443", "certificate-authority": str(layout.path("pki", "apiserver.crt"))}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
    )


def tokens() -> str:
    """The API server's static tokens: the administrator's, the kubelet's."""
    return f'{ADMIN_TOKEN},admin,admin,"system:masters"\n{KUBELET_TOKEN},system:node:{NAME},node,"system:nodes"\n'


def commands(layout: Layout) -> dict[str, list[str]]:
    """The command of each program, in the order of their start."""
    etcd, pki = "http://127.0.0.1:2379", layout.path("pki")
    account_key = f"{pki}/sa.key"
    config = f"--kubeconfig={layout.kubeconfig}"
    options = {
        "containerd": ["--config", str(layout.path("containerd.toml"))],
        "etcd": [
            *("--data-dir", str(layout.path("etcd")), "--unsafe-no-fsync"),
            *("--listen-client-urls", etcd, "--advertise-client-urls", etcd),
            *("--listen-peer-urls", "http://127.0.0.1:2380"),
        ],
        "kube-apiserver": [
            *(f"--etcd-servers={etcd}", "--bind-address=0.0.0.0", f"--advertise-address={ADDRESS}"),
            *("--secure-port=6443", f"--cert-dir={pki}", "--kubelet-preferred-address-types=InternalIP"),
            *(f"--service-account-key-file={account_key}", f"--service-account-signing-key-file={account_key}"),
            *("--service-account-issuer=https://kubernetes.default.svc", f"--token-auth-file={pki}/tokens.csv"),
            *("--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.96.0.0/24", "--allow-privileged"),
        ],
        "kube-controller-manager": [
            *(config, "--leader-elect=false", "--secure-port=0", f"--root-ca-file={pki}/apiserver.crt"),
            f"--service-account-private-key-file={account_key}",
        ],
        "kube-scheduler": [config, "--leader-elect=false", "--secure-port=0"],
        "kube-proxy": [f"--config={layout.path('proxy.json')}"],
        "coredns": ["-conf", str(layout.path("Corefile"))],
        "kubelet": [
            *(f"--config={layout.path('kubelet.json')}", f"--kubeconfig={layout.path('kubelet.conf')}"),
            *(f"--hostname-override={NAME}", f"--node-ip={ADDRESS}", "--root-dir=/var/lib/kubelet"),
        ],
    }
    return {name: [layout.binary(name), *arguments] for name, arguments in options.items()}
