output "account" {
  description = "What [accounts.NAME] of Ingot's configuration says about this account; null without a build role."
  value = var.create_build_role ? {
    account_id  = var.account_id
    role_arn    = aws_iam_role.build[0].arn
    external_id = var.external_id
    regions     = var.regions
  } : null
}

output "build_role_arn" {
  description = "ARN of the build role; null without one."
  value       = var.create_build_role ? aws_iam_role.build[0].arn : null
}

output "server_role_arn" {
  description = "ARN of the server role that was made, for the service account's annotation; null without one."
  value       = var.server_role == null ? null : aws_iam_role.server[0].arn
}
