//! What a token may do.

use super::state::text_enum;

text_enum! {
    /// Each role may do all that the ones before it may.
    Role {
        /// Reads.
        Viewer = "viewer",
        /// Templates and runs.
        Builder = "builder",
        /// Stages.
        Promoter = "promoter",
        /// Tokens and all else.
        Admin = "admin",
    }
}

impl Role {
    /// Whether this role includes `needed`.
    #[must_use]
    pub fn includes(self, needed: Self) -> bool {
        self as u8 >= needed as u8
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn roles_are_ordered() {
        assert!(Role::Admin.includes(Role::Promoter) && Role::Builder.includes(Role::Viewer));
        assert!(!Role::Viewer.includes(Role::Builder) && !Role::Builder.includes(Role::Promoter));
    }
}
