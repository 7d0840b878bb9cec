//! Who uses this program, as far as the computer knows.

/// The user's name, for recordings and lists: `someone` if there is none.
pub(crate) fn user() -> String {
    let named = |variable| std::env::var(variable).ok().filter(|name| is_name(name));
    named("STACKVM_USER")
        .or_else(|| named("USER"))
        .or_else(|| named("LOGNAME"))
        .unwrap_or_else(|| "someone".to_owned())
}

/// A name that can be shown and is not too long.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 200 && !name.chars().any(char::is_control)
}
