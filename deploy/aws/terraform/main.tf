# Inline policies: IAM takes 10,240 characters of them, of a managed policy 6,144, which the build role's exceeds.

resource "aws_iam_role" "server" {
  count = var.server_role == null ? 0 : 1

  name                 = var.server_role.name
  path                 = var.role_path
  description          = "Ingot's server (deployment ${var.deployment_id})"
  assume_role_policy   = local.server_role_trust
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

resource "aws_iam_role_policy" "server" {
  count = var.server_role == null ? 0 : 1

  name   = "assume-build-roles"
  role   = aws_iam_role.server[0].name
  policy = local.server_role_policy

  lifecycle {
    precondition {
      condition     = length(local.build_role_arns) > 0
      error_message = "The server role needs build roles: server_role.build_role_arns, or create_build_role."
    }
  }
}

resource "aws_iam_role" "build" {
  count = var.create_build_role ? 1 : 0

  name        = var.build_role_name
  path        = var.role_path
  description = "Builds images for Ingot (deployment ${var.deployment_id})"
  # A role that another role assumed lives an hour at most, which is what the server asks for.
  max_session_duration = 3600
  assume_role_policy   = local.build_role_trust
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags

  lifecycle {
    precondition {
      condition     = local.server_role_arn != null && var.external_id != null
      error_message = "The build role needs external_id, and server_role_arn unless server_role makes that role."
    }
  }

  # IAM refuses a trust policy whose principal does not exist.
  depends_on = [aws_iam_role.server]
}

resource "aws_iam_role_policy" "build" {
  count = var.create_build_role ? 1 : 0

  name   = "build-images"
  role   = aws_iam_role.build[0].name
  policy = local.build_role_policy

  lifecycle {
    precondition {
      condition     = length(var.regions) > 0
      error_message = "The build role needs regions."
    }
  }
}
