# Fills the JSON templates beside this folder, as render.py does; check-terraform compares the two. Nothing here needs a
# provider.

locals {
  role_arn_prefix = "arn:${var.partition}:iam::${var.account_id}:role${var.role_path}"
  build_role_arn  = "${local.role_arn_prefix}${var.build_role_name}"

  # Put together instead of read from the resource: the roles name each other, and that would be a circle.
  server_role_arn = var.server_role == null ? var.server_role_arn : "${local.role_arn_prefix}${var.server_role.name}"

  build_role_arns = var.server_role == null ? [] : distinct(concat(
    var.create_build_role ? [local.build_role_arn] : [],
    var.server_role.build_role_arns,
  ))

  texts = {
    partition       = var.partition
    dns_suffix      = var.partition == "aws-cn" ? "amazonaws.com.cn" : "amazonaws.com"
    account_id      = var.account_id
    deployment_id   = var.deployment_id
    external_id     = var.external_id == null ? "" : var.external_id
    server_role_arn = local.server_role_arn == null ? "" : local.server_role_arn
  }

  # A template has the placeholder of a list between the quotes of its one element. The values are validated to have no
  # quotes themselves.
  lists = {
    for name, values in {
      regions                    = var.regions
      instance_profile_role_arns = var.instance_profile_role_arns
      kms_key_arns               = var.kms_key_arns
      share_account_ids          = var.share_account_ids
    } : name => join("\", \"", values)
  }

  left_out = concat(
    var.drop_statements,
    length(var.instance_profile_role_arns) == 0 ? ["PassListedRole"] : [],
    length(var.kms_key_arns) == 0 ? ["UseListedKey", "GrantListedKeyToVolume"] : [],
    length(var.share_account_ids) == 0 ? ["ShareOwnSnapshot"] : [],
  )

  complete = jsondecode(templatefile("${path.module}/../build-role-policy.json", merge(local.texts, local.lists)))

  build_role_policy = jsonencode({
    Version   = local.complete.Version
    Statement = [for statement in local.complete.Statement : statement if !contains(local.left_out, statement.Sid)]
  })

  build_role_trust = templatefile("${path.module}/../build-role-trust.json", local.texts)

  server_role_policy = templatefile("${path.module}/../server-role-policy.json", {
    build_role_arns = join("\", \"", local.build_role_arns)
  })

  server_role_trust = var.server_role == null ? null : (
    var.server_role.trust_policy != null ? var.server_role.trust_policy :
    templatefile("${path.module}/../server-role-trust-irsa.json", {
      partition                  = var.partition
      server_account_id          = var.account_id
      oidc_issuer                = var.server_role.oidc_issuer
      kubernetes_namespace       = var.server_role.kubernetes_namespace
      kubernetes_service_account = var.server_role.kubernetes_service_account
    })
  )
}
