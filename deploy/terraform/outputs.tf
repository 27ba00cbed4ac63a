output "instance_id" {
  description = "The logging node."
  value       = aws_instance.logging.id
}

output "private_ip" {
  description = "Its address."
  value       = aws_instance.logging.private_ip
}

output "secrets_role_arn" {
  description = "For the annotation of ServiceAccount crisp-secrets; empty without an OpenID provider."
  value       = one(aws_iam_role.secrets[*].arn)
}
