# The logging node of a kubeadm cluster on AWS: joins labelled and tainted, so that Elasticsearch and Kibana, and nothing else, go there.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  name       = "crisp-logging-${var.environment}"
  parameters = "arn:${data.aws_partition.this.partition}:ssm:${data.aws_region.this.name}:${data.aws_caller_identity.this.account_id}:parameter/crisp/${var.environment}"
  tags       = merge({ Name = local.name, Role = "logging", Workload = "logging" }, var.tags)
}

resource "aws_instance" "logging" {
  ami                         = var.ami_id
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = var.security_group_ids
  associate_public_ip_address = false
  iam_instance_profile        = aws_iam_instance_profile.node.name
  tags                        = local.tags

  user_data = templatefile("${path.module}/join.sh.tftpl", {
    labels    = "workload=logging"
    taints    = "domain=observability:NoSchedule"
    parameter = "/crisp/${var.environment}/node/join-command"
    region    = data.aws_region.this.name
  })

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # pods do not reach it, so the node's role is the node's alone
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.root_volume_gib
    encrypted   = true
    tags        = local.tags
  }

  lifecycle {
    ignore_changes = [ami, user_data] # a new image or script is for the next node, not for this one
  }
}

# The node may read its join command and nothing else.
resource "aws_iam_role" "node" {
  name               = local.name
  assume_role_policy = data.aws_iam_policy_document.node_trust.json
  tags               = local.tags
}

resource "aws_iam_instance_profile" "node" {
  name = local.name
  role = aws_iam_role.node.name
  tags = local.tags
}

resource "aws_iam_role_policy" "node" {
  name   = "read-join-command"
  role   = aws_iam_role.node.id
  policy = data.aws_iam_policy_document.node.json
}

data "aws_iam_policy_document" "node_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "node" {
  statement {
    actions   = ["ssm:GetParameter"]
    resources = ["${local.parameters}/node/*"]
  }
}
