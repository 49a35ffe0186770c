//! Wrong usage: the first line names the culprit, and the exit code is 2.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A command that was given something it cannot use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Wrong(pub(crate) String);

/// What clap has to say, with all that is missing on the first line.
pub(crate) fn explain(error: &clap::Error) -> String {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {}
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return format!("error: a subcommand is missing\n\n{text}");
        }
        _ => return text,
    }
    let missing = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(arguments)) => arguments.join(" "),
        Some(ContextValue::String(argument)) => argument.clone(),
        _ => return text,
    };
    let usage = text.find("\n\nUsage:").map_or("", |at| &text[at..]);
    format!("error: missing {missing}{usage}")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_first_line_names_what_is_missing() {
        let command = crate::Banter::command();
        let error = command.try_get_matches_from(["banter", "user", "add"]);
        let text = explain(&error.unwrap_err());
        assert!(
            text.starts_with("error: missing <NAME>\n\nUsage: banter user add"),
            "{text}"
        );
    }

    #[test]
    fn the_commands_are_well_formed() {
        crate::Banter::command().debug_assert();
    }
}
