//! A stack for work that recurses as deep as a template nests.

use crate::domain::diagnostic::Diagnostic;

/// The deepest expression that the parser takes needs between 2 and 3 MiB in a debug build, and a server's worker thread
/// has 2. Pages that are not touched cost nothing.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Runs `work` on a thread of its own with room to recurse. A panic in it goes on in the caller.
///
/// # Errors
/// When the system gives no thread.
pub fn with_room<T: Send>(work: impl FnOnce() -> Result<T, Vec<Diagnostic>> + Send) -> Result<T, Vec<Diagnostic>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("template".to_owned()).stack_size(STACK_BYTES);
        match thread.spawn_scoped(scope, work) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => Err(vec![
                Diagnostic::error("the template can't be read now: the server has no thread to spare")
                    .with_detail("try again in a moment"),
            ]),
        }
    })
}
