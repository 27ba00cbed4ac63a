variable "environment" {
  description = "Name of the environment: part of every name, and of the one path of parameters, /crisp/<environment>/"
  type        = string
  default     = "dev"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.environment))
    error_message = "Lower-case letters, digits and hyphens."
  }
}

variable "instance_type" {
  description = <<-EOT
    Type of the logging node. t3.large has 8 GiB, some 7 of them for pods: Elasticsearch with 4 GiB (a heap of 2) and
    Kibana with 1.5, as overlay dev has them. t3.xlarge has 16 GiB: 8 GiB (a heap of 4), component elasticsearch-large.
  EOT
  type        = string
  default     = "t3.large"
}

variable "ami_id" {
  description = "Image with containerd and the kubelet of the cluster's version, and the AWS command line."
  type        = string
}

variable "subnet_id" {
  description = "Private subnet of the node; Elasticsearch's volume lies in its zone."
  type        = string
}

variable "security_group_ids" {
  description = "Security groups of the cluster's workers."
  type        = list(string)
}

variable "root_volume_gib" {
  description = "Root volume. Elasticsearch's data is not on it, but on a volume of its own, which outlives the node."
  type        = number
  default     = 100
}

variable "oidc_provider_arn" {
  description = "The cluster's OpenID provider (IRSA), for the role of external-secrets; empty: no such role is made."
  type        = string
  default     = ""
}

variable "tags" {
  description = "Further tags of everything."
  type        = map(string)
  default     = {}
}
