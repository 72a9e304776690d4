variable "account_id" {
  description = "Account that the roles are made in: the one of the provider's credentials."
  type        = string

  validation {
    condition     = can(regex("^\\d{12}$", var.account_id))
    error_message = "The account_id must have 12 digits."
  }
}

variable "partition" {
  description = "Partition of the account."
  type        = string
  default     = "aws"

  validation {
    condition     = contains(["aws", "aws-cn", "aws-us-gov"], var.partition)
    error_message = "The partition must be aws, aws-cn or aws-us-gov."
  }
}

variable "deployment_id" {
  description = "Id of the Ingot installation, as `ingot migrate` and GET /v1/server tell it."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.deployment_id))
    error_message = "The deployment_id must be a UUID in lower case."
  }
}

# ---- the build role ----

variable "create_build_role" {
  description = "Whether to make a build role; false in an account that only the server lives in."
  type        = bool
  default     = true
}

variable "build_role_name" {
  description = "Name of the build role."
  type        = string
  default     = "ingot-build"

  validation {
    condition     = can(regex("^[\\w+=,.@-]{1,64}$", var.build_role_name))
    error_message = "The build_role_name must be a name that IAM takes, 64 characters at most."
  }
}

variable "regions" {
  description = "Regions that builds may use, those of copies included: as in [accounts.NAME] regions."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for region in var.regions : can(regex("^[a-z]{2}(-[a-z]+)+-\\d$", region))])
    error_message = "The regions must be names such as eu-central-1."
  }
}

variable "instance_profile_role_arns" {
  description = "Roles of the instance profiles that templates may name. Empty: no template can use one."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for arn in var.instance_profile_role_arns : can(regex("^arn:aws[a-z-]*:iam::\\d{12}:role/[\\w+=,.@/-]+$", arn))
    ])
    error_message = "The instance_profile_role_arns must be ARNs of roles, not of instance profiles, without wildcards."
  }
}

variable "kms_key_arns" {
  description = "Customer managed keys that volumes and images are encrypted with. Empty: AWS managed keys only."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for arn in var.kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:key/[\\w-]+$", arn))
    ])
    error_message = "The kms_key_arns must be ARNs of keys, not of aliases, without wildcards."
  }
}

variable "share_account_ids" {
  description = "Accounts that snapshots may be shared with: as in [policy] share_accounts."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.share_account_ids : can(regex("^\\d{12}$", id))])
    error_message = "The share_account_ids must have 12 digits each."
  }
}

variable "drop_statements" {
  description = "Sids of optional statements to leave out; ../README.md says what is lost with each."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([for sid in var.drop_statements : contains([
      "ExplainRefusals", "CopyTagged", "CopyFromOwnAccount", "ModifyOwnImage", "ShareOwnSnapshot", "PassListedRole",
      "UseListedKey", "GrantListedKeyToVolume",
    ], sid)])
    error_message = "The drop_statements may name optional statements only."
  }
}

variable "external_id" {
  description = "What the server must name when it assumes the build role: as in [accounts.NAME] external_id."
  type        = string
  default     = null

  validation {
    # Length apart: Terraform's expressions repeat a thousand times at most.
    condition = var.external_id == null ? true : (
      can(regex("^[\\w+=,.@:/-]+$", var.external_id)) && length(var.external_id) >= 2 && length(var.external_id) <= 1224
    )
    error_message = "The external_id must be 2 to 1224 letters, digits and +=,.@:/-_."
  }
}

variable "server_role_arn" {
  description = "Who may assume the build role. Not needed when server_role makes that role here."
  type        = string
  default     = null

  validation {
    condition = var.server_role_arn == null || can(
      regex("^arn:aws[a-z-]*:iam::\\d{12}:role/[\\w+=,.@/-]+$", var.server_role_arn)
    )
    error_message = "The server_role_arn must be the ARN of one role."
  }
}

# ---- the server role ----

variable "server_role" {
  description = <<-TEXT
    Makes the role that the server itself runs as. `build_role_arns` are the build roles of other accounts; the one that
    is made here is added. Trusted is the Kubernetes service account of an EKS cluster whose OIDC provider is in this
    account (`oidc_issuer` without https://), or whoever `trust_policy`, a JSON document, names instead.
  TEXT
  type = object({
    name                       = optional(string, "ingot-server")
    build_role_arns            = optional(list(string), [])
    oidc_issuer                = optional(string)
    kubernetes_namespace       = optional(string, "ingot")
    kubernetes_service_account = optional(string, "ingot")
    trust_policy               = optional(string)
  })
  default = null

  validation {
    condition = var.server_role == null ? true : (
      can(regex("^[\\w+=,.@-]{1,64}$", var.server_role.name)) &&
      (var.server_role.trust_policy == null) != (var.server_role.oidc_issuer == null) &&
      (var.server_role.oidc_issuer == null ? can(jsondecode(var.server_role.trust_policy)) :
      can(regex("^[a-z0-9.-]+(/[\\w.-]+)*$", var.server_role.oidc_issuer))) &&
      can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", var.server_role.kubernetes_namespace)) &&
      can(regex("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", var.server_role.kubernetes_service_account)) &&
      alltrue([
        for arn in var.server_role.build_role_arns : can(regex("^arn:aws[a-z-]*:iam::\\d{12}:role/[\\w+=,.@/-]+$", arn))
      ])
    )
    error_message = "The server_role needs either an oidc_issuer (without https://) or a trust_policy in JSON, and build_role_arns that are ARNs of roles."
  }
}

# ---- both ----

variable "role_path" {
  description = "IAM path of the roles."
  type        = string
  default     = "/"

  validation {
    condition     = can(regex("^/([\\w+=,.@-]+/)*$", var.role_path))
    error_message = "The role_path must begin and end with a slash."
  }
}

variable "permissions_boundary" {
  description = "ARN of a policy that bounds the roles, where an organisation demands one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the roles."
  type        = map(string)
  default     = {}
}
