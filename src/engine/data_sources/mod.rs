//! What templates' `data` blocks ask for, fetched before a run is accepted. Start at [`http`].

pub mod http;
