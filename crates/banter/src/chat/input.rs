//! What a typed line means.

use crate::destination::Destination;

/// A line of the user.
#[derive(Debug)]
pub(super) enum Input {
    /// Nothing.
    Blank,
    /// Something to say.
    Message(String),
    /// Go to a channel, and become a member first where need be.
    Join(Destination),
    /// Make a public channel and go there.
    Create(String),
    /// End the membership of the present channel.
    Leave,
    /// List the channels.
    Channels,
    /// List the members.
    Who,
    /// List the commands.
    Help,
    /// End.
    Quit,
    /// Something else after a slash; what to say about it.
    Wrong(String),
}

/// What `/help` says.
pub(super) const HELP: &str = "\
/join #name      go to a channel; a public one is joined
/create #name    make a public channel
/leave           leave this channel
/channels        list the channels
/who             list the members of this channel
/quit            end (also Ctrl-D)
//text           say something that begins with a slash
";

impl Input {
    /// Reads a line. Two slashes stand for one that begins a message.
    pub(super) fn parse(line: &str) -> Self {
        let Some(command) = line.strip_prefix('/') else {
            return if line.trim().is_empty() {
                Input::Blank
            } else {
                Input::Message(line.to_owned())
            };
        };
        if command.starts_with('/') {
            return Input::Message(command.to_owned());
        }
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        match (word.trim(), rest) {
            ("join" | "create", "") => Input::Wrong(format!("/{word} needs a channel: #name")),
            ("join", channel) => match channel.parse() {
                Ok(destination) => Input::Join(destination),
                Err(_) => Input::Wrong("a channel is #name or an id".into()),
            },
            ("create", name) => Input::Create(name.strip_prefix('#').unwrap_or(name).to_owned()),
            ("leave", _) => Input::Leave,
            ("channels", _) => Input::Channels,
            ("who", _) => Input::Who,
            ("help", _) => Input::Help,
            ("quit", _) => Input::Quit,
            (word, _) => Input::Wrong(format!("there is no /{word}; /help lists the commands")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_unless_they_begin_with_a_slash() {
        assert!(matches!(Input::parse("hi /join"), Input::Message(t) if t == "hi /join"));
        assert!(matches!(Input::parse("//etc"), Input::Message(t) if t == "/etc"));
        assert!(matches!(Input::parse(" "), Input::Blank));
        assert!(matches!(Input::parse("/join #ops"), Input::Join(_)));
        assert!(matches!(Input::parse("/create #two words"), Input::Create(n) if n == "two words"));
        assert!(matches!(Input::parse("/quit "), Input::Quit));
        for wrong in ["/", "/x", "/join", "/join # "] {
            assert!(matches!(Input::parse(wrong), Input::Wrong(_)), "{wrong}");
        }
    }
}
