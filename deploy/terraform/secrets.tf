# The role with which external-secrets reads Elasticsearch's passwords: one path, one service account.

locals {
  irsa = var.oidc_provider_arn == "" ? 0 : 1
  oidc = replace(var.oidc_provider_arn, "/^.*:oidc-provider//", "")
}

resource "aws_iam_role" "secrets" {
  count              = local.irsa
  name               = "crisp-secrets-${var.environment}"
  assume_role_policy = data.aws_iam_policy_document.secrets_trust[0].json
  tags               = local.tags
}

resource "aws_iam_role_policy" "secrets" {
  count  = local.irsa
  name   = "read-elasticsearch-passwords"
  role   = aws_iam_role.secrets[0].id
  policy = data.aws_iam_policy_document.secrets.json
}

data "aws_iam_policy_document" "secrets_trust" {
  count = local.irsa

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc}:sub"
      values   = ["system:serviceaccount:logging:crisp-secrets"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "secrets" {
  statement {
    actions   = ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"]
    resources = ["${local.parameters}/elasticsearch/*"]
  }
}
