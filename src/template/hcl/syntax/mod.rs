//! HCL2's native syntax, after the specification of hashicorp/hcl (hclsyntax/spec.md): bytes → `token` → `ast`. The
//! parser goes on after a fault, so that one reading finds them all.

pub mod ast;
